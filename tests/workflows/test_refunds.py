"""Refunds that somebody asks for, on real servers: whole, by seat, by sum, and when things fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.refund import refund_workflow_id
from domain.errors import Conflict, Forbidden, NotFound
from domain.money import Money
from domain.steps import BookingInput
from services import payment
from services.refund import RefundWish
from services.refund_desk import RefundDesk
from tests.factories import Hall, create_hall
from tests.helpers.saga import OTHER_WAYS, Saga
from tests.sandbox.process import Sandbox
from tests.workflows.test_booking_paths import pay, tell
from tests.workflows.test_case_openings import cases_of

STAFF = uuid4()


async def sold(saga: Saga, input: BookingInput, provider: Sandbox) -> str:
    """A booking that was paid and confirmed; its payment's reference."""
    await saga.reserve(input)
    session_id = await saga.checkout(input)
    reference = pay(provider, session_id)
    await tell(saga, session_id)
    assert (await saga.handle(input).result())["state"] == "confirmed"
    return reference


async def ask(saga: Saga, input: BookingInput, *seats: str, **changes: Any) -> int:
    """Ask as the owner, or as staff for a sum; the refund's number."""
    by_staff = changes.pop("by_staff", "amount" in changes)
    wish: dict[str, Any] = {
        "seats": seats or None,
        "amount": None,
        "expected": None,
        "note": "",
        "request_key": uuid4(),
        "actor": "test",
        "request_id": "test-request",
        **changes,
    }
    user_id = STAFF if by_staff else UUID(input.user_id)
    return await RefundDesk(saga.begin, saga.process).refund(
        UUID(input.booking_id), RefundWish(**wish), user_id=user_id, is_staff=by_staff
    )


async def result(saga: Saga, input: BookingInput, number: int = 1) -> str:
    handle = saga.client.get_workflow_handle(refund_workflow_id(input.booking_id, number))
    return str((await handle.result())["outcome"])


async def refunds(saga: Saga, input: BookingInput) -> list[tuple[Any, ...]]:
    return await saga.rows(
        "SELECT number, status, amount, seats FROM refunds WHERE booking_id = :id"
        " ORDER BY number, part",
        id=UUID(input.booking_id),
    )


@pytest.mark.usefixtures("worker")
async def test_a_whole_refund_frees_the_seats_and_ends_refunded(
    saga: Saga, hall: Hall, provider: Sandbox, redis: Redis
) -> None:
    input = hall.input()
    reference = await sold(saga, input, provider)
    assert await result(saga, input, await ask(saga, input)) == "succeeded"
    assert await saga.state(input) == "refunded"
    assert provider.payment(reference)["refunded"] == 2400
    assert await saga.claims(input) == {}
    assert await redis.get(f"{{show:{input.show_id}}}:seat:A1") is None
    told = await saga.events(input)
    asked = told[told.index("RefundReserved") :]
    assert asked == [
        "RefundReserved",
        "BookingRefunding",
        "RefundAccepted",
        "SeatReleased",
        "NotificationQueued",
        "RefundSettled",
        "NotificationQueued",
        "BookingRefunded",
    ]
    again = hall.input()
    assert await saga.reserve(again) == "held"


@pytest.mark.usefixtures("worker")
async def test_a_refund_of_one_seat_keeps_the_others(
    saga: Saga, hall: Hall, provider: Sandbox, redis: Redis
) -> None:
    input = hall.input()
    reference = await sold(saga, input, provider)
    assert await result(saga, input, await ask(saga, input, "A1")) == "succeeded"
    assert await saga.state(input) == "confirmed"
    assert provider.payment(reference)["refunded"] == 1200
    assert await saga.claims(input) == {"A2": "sold"}
    assert await redis.get(f"{{show:{input.show_id}}}:seat:A1") is None
    with pytest.raises(Conflict) as refused:
        await ask(saga, input, "A1")
    assert refused.value.code == "seat_refunded"
    assert await result(saga, input, await ask(saga, input)) == "succeeded"
    assert await saga.state(input) == "refunded"
    assert await refunds(saga, input) == [
        (1, "succeeded", 1200, ["A1"]),
        (2, "succeeded", 1200, ["A2"]),
    ]


@pytest.mark.usefixtures("worker")
async def test_what_the_provider_tells_of_it_afterwards_changes_nothing(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input()
    await sold(saga, input, provider)
    [[session_id]] = await saga.rows(
        "SELECT session_id FROM payments WHERE booking_id = :id", id=UUID(input.booking_id)
    )
    for seats, state in ((("A1",), "confirmed"), ((), "refunded")):
        await result(saga, input, await ask(saga, input, *seats))
        told = await saga.events(input)
        await tell(saga, session_id)
        assert await saga.events(input) == told
        assert await saga.state(input) == state
    assert told.count("PaymentVerified") == 1
    assert [row[1:3] for row in await refunds(saga, input)] == [("succeeded", 1200)] * 2


@pytest.mark.usefixtures("worker")
async def test_close_to_the_show_half_goes_back_and_the_rest_is_kept(
    saga: Saga, engine: AsyncEngine, provider: Sandbox
) -> None:
    hall = await create_hall(engine, starts_in_hours=3)
    input = hall.input()
    reference = await sold(saga, input, provider)
    with pytest.raises(Conflict) as refused:
        await ask(saga, input, expected=Money(2400, "EUR"))
    assert refused.value.code == "quote_changed"
    assert refused.value.data["quote"]["amount"] == {"amount": 1200, "currency": "EUR"}
    await result(saga, input, await ask(saga, input, expected=Money(1200, "EUR")))
    assert await saga.state(input) == "refunded"
    assert provider.payment(reference)["refunded"] == 1200


@pytest.mark.usefixtures("worker")
async def test_too_late_nothing_goes_back_but_a_sum_of_staff(
    saga: Saga, engine: AsyncEngine, provider: Sandbox
) -> None:
    hall = await create_hall(engine, starts_in_hours=1)
    input = hall.input()
    reference = await sold(saga, input, provider)
    with pytest.raises(Conflict) as refused:
        await ask(saga, input)
    assert refused.value.code == "nothing_to_refund"
    with pytest.raises(Forbidden):
        await ask(saga, input, amount=Money(500, "EUR"), by_staff=False)
    number = await ask(saga, input, amount=Money(500, "EUR"))
    assert await result(saga, input, number) == "succeeded"
    assert await saga.state(input) == "confirmed"
    assert await saga.claims(input) == {"A1": "sold", "A2": "sold"}
    assert provider.payment(reference)["refunded"] == 500
    with pytest.raises(Conflict) as refused:
        await ask(saga, input, amount=Money(1901, "EUR"))
    assert refused.value.code == "exceeds_captured"
    assert refused.value.data["left"] == {"amount": 1900, "currency": "EUR"}


async def test_twice_the_same_is_one_refund(saga: Saga, hall: Hall, provider: Sandbox) -> None:
    input, key = hall.input(), uuid4()
    async with saga.worker():
        reference = await sold(saga, input, provider)
    # Nobody is at work: every repeat meets a refund that is under way.
    assert await ask(saga, input, "A1", request_key=key) == 1
    assert await ask(saga, input, "A1", request_key=key) == 1
    assert await ask(saga, input, "A1") == 1
    assert await ask(saga, input) == 2, "the rest of the booking"
    assert await ask(saga, input) == 2
    assert await saga.state(input) == "refund_pending"
    async with saga.worker():
        assert [await result(saga, input, number) for number in (1, 2)] == ["succeeded"] * 2
        assert await ask(saga, input, "A1", request_key=key) == 1
    assert provider.payment(reference)["refunded"] == 2400
    assert await saga.state(input) == "refunded"
    with pytest.raises(Conflict):
        await ask(saga, input)


async def test_what_is_under_way_counts_as_gone(saga: Saga, hall: Hall, provider: Sandbox) -> None:
    input = hall.input()
    async with saga.worker():
        await sold(saga, input, provider)
    await ask(saga, input, amount=Money(2000, "EUR"))
    with pytest.raises(Conflict) as refused:
        await ask(saga, input, amount=Money(500, "EUR"))
    assert refused.value.code == "exceeds_captured"
    with pytest.raises(Conflict) as changed:
        await ask(saga, input, expected=Money(2400, "EUR"))
    assert changed.value.data["quote"]["amount"]["amount"] == 400
    with pytest.raises(NotFound):
        await ask(saga, hall.input())


async def test_money_whose_own_refund_failed_is_sent_by_a_person_and_by_nobody_else(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    """Its case says to send it another way: a refund of the booking must not send it as well."""
    input = hall.input()
    async with saga.worker():
        first = await sold(saga, input, provider)
        [[session_id]] = await saga.rows(
            "SELECT session_id FROM payments WHERE booking_id = :id", id=UUID(input.booking_id)
        )
    second = pay(provider, session_id, force=True)
    await tell(saga, session_id)
    [[receipt_id]] = await saga.rows(
        "SELECT id FROM provider_payments WHERE reference = :ref", ref=second
    )
    await saga.client.get_workflow_handle(f"late-payment-{receipt_id}").terminate()
    async with saga.begin() as tx:
        await payment.settle_refund(
            tx, receipt_id, status="failed", reference="ref", request_id=None
        )
    with pytest.raises(Conflict) as refused:
        await ask(saga, input, amount=Money(3000, "EUR"))
    assert refused.value.data["left"] == {"amount": 2400, "currency": "EUR"}
    number = await ask(saga, input, amount=Money(2400, "EUR"))
    async with saga.worker():
        assert await result(saga, input, number) == "succeeded"
    paid = [provider.payment(one)["refunded"] for one in (first, second)]
    assert paid == [2400, 0]
    assert await cases_of(saga, input) == ["refund_failed"]
    [[due]] = await saga.rows(
        "SELECT sum(credit - debit)::int FROM ledger_entries"
        " WHERE booking_id = :id AND account = 'refunds_due'",
        id=UUID(input.booking_id),
    )
    assert due == 2400


@pytest.mark.parametrize("how", OTHER_WAYS.values(), ids=OTHER_WAYS)
async def test_the_refund_runs_sandboxed_and_without_a_cache(
    saga: Saga, hall: Hall, provider: Sandbox, how: dict[str, Any]
) -> None:
    input, saga = hall.input(), replace(saga, **how)
    async with saga.worker():
        await sold(saga, input, provider)
        assert await result(saga, input, await ask(saga, input)) == "succeeded"
