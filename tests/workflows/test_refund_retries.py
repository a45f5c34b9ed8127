"""P8: a refund that fails at the provider is sent again, a few times, and never paid twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from contracts.late_payment import late_payment_workflow_id
from domain.errors import Conflict, NotFound, SeatholdError, Unavailable
from domain.limits import REFUND_RETRIES
from domain.money import Money
from domain.payment import ProviderRefund
from domain.steps import BookingInput
from infra.gateways.sandbox import SandboxGateway
from tests.factories import Hall
from tests.helpers.books import is_settled
from tests.helpers.eventually import eventually
from tests.helpers.late import page_of_ended_hold
from tests.helpers.saga import Fault, Saga
from tests.sandbox.process import Sandbox
from tests.workflows.test_booking_paths import pay, tell
from tests.workflows.test_case_openings import cases_of
from tests.workflows.test_disputes import disputed
from tests.workflows.test_refund_faults import at_once, faulty, settle_at_the_bank
from tests.workflows.test_refunds import ask, result, sold
from workflows import policies

__all__ = ["at_once", "faulty"]
SENT = REFUND_RETRIES + 1
FOUND = "SELECT accepted_at = created_at FROM refunds WHERE booking_id = :id"
UNTOLD = [
    Unavailable("It is away."),
    NotFound("No such payment."),
    Conflict("The provider refused.", code="provider_refused"),
]


class Losing(SandboxGateway):
    """The next refund of ``reference`` is made, then ``meanwhile`` comes, and no answer.

    Asked for its refunds of that payment, it first says what stands in ``untold``.
    """

    def __init__(self, base_url: str) -> None:
        super().__init__(base_url)
        self.reference = ""
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        self.untold: list[SeatholdError] = []

    async def refund(self, reference: str, *, key: str, amount: Money) -> ProviderRefund:
        made = await super().refund(reference, key=key, amount=amount)
        if reference != self.reference or self.meanwhile is None:
            return made
        meanwhile, self.meanwhile = self.meanwhile, None
        await meanwhile()
        raise Unavailable("The answer was lost.")

    async def list_refunds(self, reference: str) -> list[ProviderRefund]:
        if reference == self.reference and self.untold:
            raise self.untold.pop(0)
        return await super().list_refunds(reference)


@pytest.fixture
async def losing(provider: Sandbox) -> AsyncIterator[Losing]:
    gateway = Losing(provider.url)
    yield gateway
    await gateway.aclose()


def wait_at(monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    """Only the wait number ``place`` is long enough for a test to step in."""
    waits = [timedelta(milliseconds=10)] * REFUND_RETRIES
    waits[place] = timedelta(seconds=2)
    monkeypatch.setattr(policies, "REFUND_RETRY_WAITS", tuple(waits))


async def late(saga: Saga, hall: Hall, provider: Sandbox) -> tuple[BookingInput, str, str]:
    """Money that came for a booking that was over: the provider's id of it, and ours."""
    input = hall.input()
    session_id = await page_of_ended_hold(saga, input)
    reference = pay(provider, session_id, force=True, amount=2399)
    await tell(saga, session_id)
    [[receipt_id]] = await saga.rows(
        "SELECT id FROM provider_payments WHERE reference = :ref", ref=reference
    )
    return input, reference, str(receipt_id)


async def back(saga: Saga, receipt_id: str) -> str:
    handle = saga.client.get_workflow_handle(late_payment_workflow_id(receipt_id))
    return str((await handle.result())["outcome"])


def sent(provider: Sandbox, reference: str) -> list[dict[str, Any]]:
    """Every refund that the provider made of the payment."""
    made = provider.get("/test/ledger").json()["refunds"]
    return [one for one in made if one["payment_id"] == reference]


async def tries_of(saga: Saga, input: BookingInput) -> list[tuple[Any, ...]]:
    return await saga.rows(
        "SELECT status, tries, cardinality(failed) FROM refunds WHERE booking_id = :id",
        id=UUID(input.booking_id),
    )


async def settled(saga: Saga, input: BookingInput) -> bool:
    async with saga.begin.alone() as tx:
        return await is_settled(tx, UUID(input.booking_id))


@pytest.mark.usefixtures("worker", "at_once")
async def test_money_that_cannot_be_sent_back_is_a_case_after_five_more_tries(
    saga: Saga, hall: Hall, faulty: Sandbox
) -> None:
    faulty.configure(refund_outcome="failed")
    input, reference, receipt_id = await late(saga, hall, faulty)
    assert await back(saga, receipt_id) == "failed"
    made = sent(faulty, reference)
    assert [one["status"] for one in made] == ["failed"] * SENT
    assert len({one["idempotency_key"] for one in made}) == SENT
    assert await tries_of(saga, input) == [("failed", REFUND_RETRIES, REFUND_RETRIES)]
    assert await cases_of(saga, input) == ["wrong_amount", "refund_failed"]
    told = await saga.events(input)
    assert told.count("RefundRetried") == REFUND_RETRIES


@pytest.mark.usefixtures("worker")
async def test_money_that_a_bank_takes_in_the_end_goes_back_once(
    saga: Saga, hall: Hall, faulty: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_at(monkeypatch, 2)
    faulty.configure(refund_outcome="failed")
    input, reference, receipt_id = await late(saga, hall, faulty)

    async def failed_thrice() -> bool:
        [(_, tries, _)] = await tries_of(saga, input)
        return bool(tries == 3)

    await eventually(failed_thrice, seconds=30)
    faulty.configure(refund_outcome="succeeded")
    assert await back(saga, receipt_id) == "succeeded"
    assert [one["status"] for one in sent(faulty, reference)] == ["failed"] * 3 + ["succeeded"]
    assert faulty.payment(reference)["refunded"] == 2399
    assert await settled(saga, input)
    assert await cases_of(saga, input) == ["wrong_amount"]


@pytest.mark.usefixtures("worker", "at_once")
async def test_a_provider_that_will_have_none_of_it_is_a_case(
    saga: Saga, hall: Hall, faulty: Sandbox
) -> None:
    """Before, its workflow failed and was started again every two seconds."""
    input = hall.input(hold_seconds=60)
    await saga.reserve(input)
    session_id = await saga.checkout(input)
    reference = pay(faulty, session_id, amount=2399)
    by_hand = faulty.refund(reference, 100).json()["id"]
    await tell(saga, session_id)
    [[receipt_id]] = await saga.rows(
        "SELECT id FROM provider_payments WHERE reference = :ref", ref=reference
    )
    assert await back(saga, str(receipt_id)) == "failed"
    assert [one["id"] for one in sent(faulty, reference)] == [by_hand]
    assert await tries_of(saga, input) == [("failed", REFUND_RETRIES, REFUND_RETRIES)]
    assert "refund_failed" in await cases_of(saga, input)


@pytest.mark.parametrize("repeat", [1, 2])
async def test_a_refund_on_request_that_failed_at_the_bank_is_sent_again(
    saga: Saga, hall: Hall, faulty: Sandbox, repeat: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its seats went free with the first try; booking and seats wait for no other."""
    wait_at(monkeypatch, 0)
    input, fault = hall.input(), Fault(repeat=repeat)
    async with saga.worker(fault):
        reference = await sold(saga, input, faulty)
        faulty.configure(refund_outcome="pending")
        await ask(saga, input)
        await settle_at_the_bank(saga, input, faulty, "failed")
        faulty.configure(refund_outcome="succeeded")
        assert await result(saga, input) == "succeeded"
    assert [one["status"] for one in sent(faulty, reference)] == ["failed", "succeeded"]
    assert faulty.payment(reference)["refunded"] == 2400
    assert await saga.state(input) == "refunded"
    assert await tries_of(saga, input) == [("succeeded", 1, 1)]
    assert await cases_of(saga, input) == []
    told = await saga.events(input)
    once = ("RefundAccepted", "SeatReleased", "RefundRetried", "RefundSettled")
    assert [told.count(one) for one in once] == [1, 1, 1, 1]
    assert await settled(saga, input)


@pytest.mark.usefixtures("worker", "at_once")
async def test_a_refund_on_request_that_fails_for_good_is_a_case_and_its_seats_are_free(
    saga: Saga, hall: Hall, faulty: Sandbox
) -> None:
    input = hall.input()
    reference = await sold(saga, input, faulty)
    faulty.configure(refund_outcome="failed")
    assert await result(saga, input, await ask(saga, input)) == "failed"
    assert [one["status"] for one in sent(faulty, reference)] == ["failed"] * SENT
    assert await saga.claims(input) == {}
    assert await saga.state(input) == "refund_pending"
    assert await cases_of(saga, input) == ["refund_failed"]
    assert not await settled(saga, input)


async def test_a_refusal_after_the_seats_are_free_withdraws_nothing(
    saga: Saga, hall: Hall, faulty: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_at(monkeypatch, 0)
    input, fault = hall.input(), Fault()
    async with saga.worker(fault):
        reference = await sold(saga, input, faulty)
        faulty.configure(refund_outcome="pending")
        await ask(saga, input)
        await settle_at_the_bank(saga, input, faulty, "failed")
        faulty.post(f"/test/payments/{reference}/dispute", {"outcome": "opened"})
        assert await result(saga, input) == "failed"
    assert fault.times_run("withdraw_refund", input.booking_id) == 0
    assert await saga.state(input) == "refund_pending"
    assert await cases_of(saga, input) == ["refund_failed"]


def dispute_at_the_next(
    saga: Saga, input: BookingInput, provider: Sandbox, losing: Losing, reference: str
) -> None:
    """The bank disputes the payment between the refund and its answer, which never comes."""

    async def open_dispute() -> None:
        await disputed(saga, input, provider, reference, "opened")

    losing.reference, losing.meanwhile = reference, open_dispute


@pytest.mark.parametrize(
    "untold", [[], *([one] for one in UNTOLD)], ids=["told", "away", "unknown", "refused"]
)
async def test_a_refund_that_was_paid_is_not_withdrawn_by_a_dispute(
    saga: Saga, hall: Hall, faulty: Sandbox, losing: Losing, untold: list[SeatholdError]
) -> None:
    """Its answer was lost; withdrawn, its seat would stay sold and be paid for once more."""
    saga = replace(saga, gateways={losing.name: losing})
    input, fault, losing.untold = hall.input(), Fault(), list(untold)
    async with saga.worker(fault):
        reference = await sold(saga, input, faulty)
        dispute_at_the_next(saga, input, faulty, losing, reference)
        assert await result(saga, input, await ask(saga, input, "A1")) == "succeeded"
        assert await saga.claims(input) == {"A2": "sold"}
        await disputed(saga, input, faulty, reference, "won")
    assert (losing.meanwhile, losing.untold) == (None, [])
    assert fault.times_run("withdraw_refund", input.booking_id) == 0
    assert [one["status"] for one in sent(faulty, reference)] == ["succeeded"]
    assert await tries_of(saga, input) == [("succeeded", 0, 0)]
    assert await saga.rows(FOUND, id=UUID(input.booking_id)) == [(True,)], "D1: sent before it"
    assert await saga.state(input) == "confirmed"
    assert await settled(saga, input)


@pytest.mark.parametrize("untold", [[], UNTOLD[1:]], ids=["told", "untold"])
async def test_a_dispute_makes_no_new_key_for_a_try_that_was_paid(
    saga: Saga,
    hall: Hall,
    faulty: Sandbox,
    losing: Losing,
    untold: list[SeatholdError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a new key the seat would be paid for twice as soon as the dispute is won."""
    wait_at(monkeypatch, 0)
    saga = replace(saga, gateways={losing.name: losing})
    input, losing.untold = hall.input(), list(untold)
    async with saga.worker():
        reference = await sold(saga, input, faulty)
        faulty.configure(refund_outcome="pending")
        await ask(saga, input, "A1")
        await settle_at_the_bank(saga, input, faulty, "failed")
        dispute_at_the_next(saga, input, faulty, losing, reference)
        faulty.configure(refund_outcome="succeeded")
        assert await result(saga, input) == "succeeded"
        await disputed(saga, input, faulty, reference, "won")
    assert (losing.meanwhile, losing.untold) == (None, [])
    assert [one["status"] for one in sent(faulty, reference)] == ["failed", "succeeded"]
    assert faulty.payment(reference)["refunded"] == 1200
    assert await tries_of(saga, input) == [("succeeded", 1, 1)]
    assert await saga.state(input) == "confirmed"
    assert await settled(saga, input)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("after_effect", [False, True])
async def test_an_answer_that_does_not_come_never_makes_a_new_key(
    saga: Saga, hall: Hall, faulty: Sandbox, after_effect: bool
) -> None:
    fault = Fault()
    async with saga.worker(fault):
        input = hall.input(hold_seconds=60)
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        reference = pay(faulty, session_id, amount=2399)
        async with saga.begin.alone() as tx:
            attempt = await tx.payments.attempt_by_session("sandbox", session_id)
        assert attempt is not None
        await tell(saga, session_id)
        [[receipt_id]] = await saga.rows(
            "SELECT id FROM provider_payments WHERE reference = :ref", ref=reference
        )
        assert await back(saga, str(receipt_id)) == "succeeded"
        second = pay(faulty, session_id, force=True, amount=2398)
        await saga.news.read_again(attempt)
        faulty.configure(error_rate=1.0, fail_after_effect=after_effect)
        before = fault.times_run("send_refund")

        async def asked_often() -> bool:
            return fault.times_run("send_refund") >= before + 2

        await eventually(asked_often, seconds=30)
        faulty.configure(error_rate=0.0, fail_after_effect=False)
        [[other_id]] = await saga.rows(
            "SELECT id FROM provider_payments WHERE reference = :ref", ref=second
        )
        assert await back(saga, str(other_id)) == "succeeded"
    assert [one["status"] for one in sent(faulty, second)] == ["succeeded"]
    assert [tries for _, tries, _ in await tries_of(saga, input)] == [0, 0]


def test_the_waits_grow_and_end_within_a_day() -> None:
    waits = list(policies.REFUND_RETRY_WAITS)
    assert waits == sorted(set(waits))
    assert len(waits) == 5
    assert timedelta(hours=20) < sum(waits, timedelta()) < timedelta(hours=24)
