"""What opens a case: each trouble one, however often it is seen, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.errors import Conflict
from domain.limits import REFUND_RETRIES
from domain.payment import ProviderSession
from domain.steps import BookingInput, LatePaymentInput
from infra.gateways.sandbox import SandboxGateway
from infra.postgres.database import Database
from infra.postgres.inbox import InboxWriter, NewEvent
from loops.inbox import InboxLoop
from readmodel import cases
from services import late_payment, payment
from services import provider as providers
from services.work import LateLimits
from tests.factories import Hall
from tests.helpers.late import page_of_ended_hold
from tests.helpers.saga import Saga
from tests.sandbox.process import NO_FAULTS, Sandbox, running_sandbox


@pytest.fixture(autouse=True)
def no_faults(provider: Sandbox) -> Iterator[None]:
    yield
    provider.configure(**NO_FAULTS)


async def cases_of(saga: Saga, input: BookingInput) -> list[str]:
    """The kinds, oldest first."""
    found = await saga.rows(
        "SELECT kind FROM cases WHERE booking_id = :id ORDER BY opened_at",
        id=UUID(input.booking_id),
    )
    return [kind for (kind,) in found]


async def paid(saga: Saga, provider: Sandbox, session_id: str, **wrong: Any) -> UUID:
    """Pay and record it, as the poll does, but tell no workflow; the receipt's id."""
    quietly = {"webhooks": {"deliver": False}, "force": True}
    reference = provider.pay({"id": session_id}, "captured", **quietly, **wrong)
    await record(saga, session_id)
    [[receipt_id]] = await saga.rows(
        "SELECT id FROM provider_payments WHERE reference = :it", it=reference
    )
    found: UUID = receipt_id
    # No late money is taken here, so what is exact goes back as well.
    await late_payment.settle(saga.begin, LatePaymentInput(str(found)), LateLimits(0, 0, 20))
    return found


async def record(saga: Saga, session_id: str) -> None:
    async with saga.begin.alone() as tx:
        attempt = await tx.payments.attempt_by_session("sandbox", session_id)
    assert attempt is not None
    session = await saga.gateways["sandbox"].read_session(session_id)
    await providers.record_session(saga.begin, attempt, session, request_id=None)


async def send(saga: Saga, receipt_id: UUID) -> str:
    return await providers.send_refund(saga.begin, saga.gateways, receipt_id, request_id=None)


async def settle(saga: Saga, receipt_id: UUID, *statuses: str) -> None:
    """Write down what the provider says of the refund, one after another."""
    for status in statuses:
        async with saga.begin() as tx:
            await payment.settle_refund(
                tx, receipt_id, status=status, reference="ref", request_id=None
            )


async def ended(saga: Saga, hall: Hall) -> tuple[BookingInput, str]:
    """A booking whose pay page was closed unpaid, and the page."""
    input = hall.input()
    async with saga.worker():
        session_id = await page_of_ended_hold(saga, input)
    assert await cases_of(saga, input) == [], "an ordinary end is no case"
    return input, session_id


@pytest.mark.parametrize("wrong", [{"amount": 2399}, {"currency": "USD"}])
async def test_money_of_a_wrong_amount_or_currency(
    saga: Saga, hall: Hall, provider: Sandbox, wrong: dict[str, Any]
) -> None:
    input, session_id = await ended(saga, hall)
    receipt_id = await paid(saga, provider, session_id, **wrong)
    await record(saga, session_id)
    [row] = await saga.rows(
        "SELECT cases.id, kind, cases.provider_payment_id, refund_id, summary, bookings.case_id"
        " FROM cases JOIN bookings ON bookings.id = booking_id WHERE booking_id = :id",
        id=UUID(input.booking_id),
    )
    [[refund_id]] = await saga.rows(
        "SELECT id FROM refunds WHERE provider_payment_id = :id", id=receipt_id
    )
    assert row[1:4] == ("wrong_amount", receipt_id, refund_id)
    async with saga.database.statements() as session:
        shown = await cases.read(session, row[0])
    assert shown is not None
    names = ("booking_id", "provider_payment_id", "refund_id")
    assert [shown[name] for name in names] == [input.booking_id, str(receipt_id), str(refund_id)]
    assert row[0] == row[5]
    assert "24.00 EUR was asked for" in row[4]


async def test_money_that_is_only_late_is_no_case(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input, session_id = await ended(saga, hall)
    await paid(saga, provider, session_id)
    assert await cases_of(saga, input) == []


async def test_a_refund_that_failed(saga: Saga, hall: Hall, provider: Sandbox) -> None:
    input, session_id = await ended(saga, hall)
    receipt_id = await paid(saga, provider, session_id)
    provider.configure(refund_outcome="failed")
    for _ in range(REFUND_RETRIES):
        assert await send(saga, receipt_id) == "retry"
    assert await cases_of(saga, input) == [], "it may still succeed"
    for _ in range(2):
        assert await send(saga, receipt_id) == "failed"
    await settle(saga, receipt_id, "pending", "failed")
    assert await cases_of(saga, input) == ["refund_failed"]


async def test_a_refund_that_is_only_slow_is_no_case(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input, session_id = await ended(saga, hall)
    receipt_id = await paid(saga, provider, session_id)
    await settle(saga, receipt_id, "pending", "succeeded")
    assert await cases_of(saga, input) == []


async def test_a_booking_that_ends_with_its_page_open(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input(hold_seconds=1, hold_max_seconds=2)
    async with saga.worker():
        await saga.reserve(input)
        await saga.checkout(input)
        provider.configure(error_rate=1)
        assert (await saga.handle(input).result())["state"] == "expired"
    [[uncertain]] = await saga.rows(
        "SELECT payment_uncertain FROM bookings WHERE id = :id", id=UUID(input.booking_id)
    )
    assert uncertain
    assert await cases_of(saga, input) == ["payment_uncertain"]


class Refusing(SandboxGateway):
    """As Stripe where it does not close a page that is still open."""

    async def expire_session(self, session_id: str) -> ProviderSession:
        raise Conflict("The payment provider refused with 400.", code="provider_refused")


@pytest.mark.parametrize("is_known", [True, False], ids=["refused", "unknown"])
async def test_a_page_that_the_provider_will_not_close_ends_with_the_grace(
    saga: Saga, hall: Hall, provider: Sandbox, tmp_path: Path, *, is_known: bool
) -> None:
    """A clear no is no word that the page is closed: the same end as without any answer."""
    input = hall.input(hold_seconds=1, hold_max_seconds=2)
    with running_sandbox(tmp_path / "after_a_reset.sqlite") as reset:
        gateway = Refusing(provider.url) if is_known else SandboxGateway(reset.url)
        async with saga.worker():
            await saga.reserve(input)
            await saga.checkout(input)
        async with replace(saga, gateways={"sandbox": gateway}).worker():
            assert (await saga.handle(input).result())["state"] == "expired"
        await gateway.aclose()
    [[uncertain]] = await saga.rows(
        "SELECT payment_uncertain FROM bookings WHERE id = :id", id=UUID(input.booking_id)
    )
    assert uncertain
    assert await saga.claims(input) == {}
    assert await cases_of(saga, input) == ["payment_uncertain"]


async def test_webhooks_of_no_booking(saga: Saga, database: Database) -> None:
    session_id, without = f"ses_{uuid4().hex}", f"evt_{uuid4().hex}"
    data = {"session_id": session_id}
    events = [(f"evt_{uuid4().hex}", data), (f"evt_{uuid4().hex}", data), (without, {})]
    loop = InboxLoop(saga.work, saga.news)
    for event_id, told in events:
        await InboxWriter(database).store(
            NewEvent(
                "sandbox",
                event_id,
                "payment.captured",
                json.dumps({"type": "payment.captured", "data": told}).encode(),
                None,
            )
        )
        while await loop.one_pass():
            pass
    found = await saga.rows(
        "SELECT kind, dedupe FROM cases WHERE dedupe LIKE '%' || :a OR dedupe LIKE '%' || :b"
        " ORDER BY opened_at",
        a=session_id,
        b=without,
    )
    assert found == [
        ("unknown_payment", f"unknown_payment:sandbox:{session_id}"),
        ("unknown_payment", f"unknown_payment:sandbox:{without}"),
    ]
    states = await saga.rows(
        "SELECT DISTINCT status FROM webhook_inbox WHERE event_id = ANY(:ids)",
        ids=[event_id for event_id, _ in events],
    )
    assert states == [("quarantined",)]
