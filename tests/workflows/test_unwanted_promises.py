"""Authorised money that buys no seat is let go; and what meets a booking whose money is taken."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio.testing import ActivityEnvironment

from activities.capture import GatewayCaptureActivities
from domain.errors import Conflict, Unavailable
from domain.steps import BookingInput, CaptureStep
from loops.reaper import ReaperLoop
from services import capture
from services.desk import Caller
from tests.factories import Hall
from tests.helpers.eventually import eventually
from tests.helpers.late import page_of_ended_hold
from tests.helpers.promises import (
    WilfulGateway,
    authorised,
    be_away,
    is_settled,
    let_go,
    payments,
    receipt_id,
)
from tests.helpers.saga import Saga
from tests.sandbox.process import Sandbox
from tests.workflows.test_authorise import SOLD
from tests.workflows.test_booking_paths import pay, tell


class Gate:
    """A capture that waits at the provider's door, its money taken or not yet."""

    def __init__(self, *, taken: bool) -> None:
        self.taken, self.reached, self.open = taken, asyncio.Event(), asyncio.Event()

    async def __call__(self, take: Any) -> Any:
        if self.taken:
            await take()
        self.reached.set()
        await self.open.wait()
        return await take()


async def late(saga: Saga, provider: Sandbox, input: BookingInput, **act: Any) -> str:
    """An authorisation that comes when the hold is over; the payment's id."""
    session_id = await page_of_ended_hold(saga, input)
    reference = pay(provider, session_id, "authorised", force=True, **act)
    await tell(saga, session_id)
    return reference


async def test_a_late_authorisation_is_let_go(
    promising: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input()
    async with promising.worker():
        reference = await late(promising, provider, input)
        assert await let_go(promising, reference) == "voided"
    paid = provider.payment(reference)
    assert (paid["status"], paid["captured"]) == ("voided", 0)
    assert await payments(promising, input) == [("voided", "late")]
    assert (await promising.events(input))[-4:] == [
        "PaymentAuthorised",
        "VoidRequested",
        "NotificationQueued",
        "PaymentVoided",
    ]
    assert (
        await promising.rows(
            "SELECT id FROM refunds WHERE booking_id = :id", id=UUID(input.booking_id)
        )
        == []
    )
    assert await is_settled(promising, input)


async def test_a_void_that_comes_too_late_becomes_a_refund(
    promising: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input()
    async with promising.worker():
        session_id = await page_of_ended_hold(promising, input)
    reference = pay(provider, session_id, "authorised", force=True)
    await tell(promising, session_id)
    assert provider.post(f"/v1/payments/{reference}/capture").status_code == 200
    async with promising.worker():
        assert await let_go(promising, reference) == "succeeded"
    paid = provider.payment(reference)
    assert (paid["captured"], paid["refunded"]) == (2400, 2400)
    assert "LatePaymentRefunded" in await promising.events(input)
    assert await is_settled(promising, input)


async def test_of_two_authorisations_one_is_taken_and_the_other_let_go(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway
) -> None:
    """Also while the first one is being taken: its booking is no longer to be had."""
    input, gate = hall.input(), Gate(taken=False)
    gateway.turns = [gate]
    async with promising.worker():
        await promising.reserve(input)
        session_id = await promising.checkout(input)
        first = pay(provider, session_id, "authorised")
        await tell(promising, session_id)
        await gate.reached.wait()
        second = pay(provider, session_id, "authorised", force=True)
        await tell(promising, session_id)
        assert await let_go(promising, second) == "voided"
        assert await attempts(promising, input) == [("authorised",)], "the first one still is"
        gate.open.set()
        assert (await promising.handle(input).result())["state"] == "confirmed"
    assert provider.payment(first)["status"] == "captured"
    assert provider.payment(second)["status"] == "voided"
    assert await payments(promising, input) == [("captured", "confirms"), ("voided", "duplicate")]
    assert await attempts(promising, input) == [("captured",)]
    assert await is_settled(promising, input)


@pytest.mark.parametrize("wrong", [{"amount": 2399}, {"amount": 2401}, {"currency": "USD"}])
async def test_a_wrong_sum_is_let_go_and_a_person_told(
    promising: Saga, hall: Hall, provider: Sandbox, wrong: dict[str, Any]
) -> None:
    input = hall.input()
    async with promising.worker():
        reference = await authorised(promising, provider, input, **wrong)
        assert await let_go(promising, reference) == "voided"
        assert await promising.state(input) == "held"
        assert provider.payment(reference)["captured"] == 0
        [[kind]] = await promising.rows(
            "SELECT kind FROM cases WHERE booking_id = :id", id=UUID(input.booking_id)
        )
        assert kind == "wrong_amount"
        # The hold stands: another try of the buyer can still buy the seats.
        session_id = await promising.checkout(input)
        pay(provider, session_id, "authorised")
        await tell(promising, session_id)
        assert (await promising.handle(input).result())["state"] == "confirmed"
    assert await is_settled(promising, input)


async def test_while_the_money_is_taken_the_booking_can_be_neither_cancelled_nor_extended(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway
) -> None:
    input, gate = hall.input(), Gate(taken=True)
    caller = Caller(UUID(input.user_id), "test-request")
    gateway.turns = [gate]
    async with promising.worker():
        await authorised(promising, provider, input)
        await gate.reached.wait()
        with pytest.raises(Conflict) as refused:
            await promising.desk.cancel(caller, UUID(input.booking_id))
        assert refused.value.code == "invalid_state"
        with pytest.raises(Conflict) as refused:
            await promising.desk.extend(caller, UUID(input.booking_id), extension_id=uuid4())
        assert refused.value.code == "payment_open"
        assert not await promising.desk.confirm(caller, UUID(input.booking_id), wait_seconds=0)
        gate.open.set()
        assert (await promising.handle(input).result())["state"] == "confirmed"


async def test_while_an_earlier_pages_money_is_taken_the_open_page_is_not_to_be_paid(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway
) -> None:
    input, gate = hall.input(), Gate(taken=True)
    gateway.turns = [gate]
    async with promising.worker():
        await promising.reserve(input)
        earlier = await promising.checkout(input)
        pay(provider, earlier, "failed")
        await tell(promising, earlier)
        await promising.checkout(input)
        pay(provider, earlier, "authorised", force=True)
        await tell(promising, earlier)
        await gate.reached.wait()
        caller = Caller(UUID(input.user_id), "test-request")
        assert not await promising.desk.confirm(caller, UUID(input.booking_id), wait_seconds=0)
        gate.open.set()
        assert (await promising.handle(input).result())["state"] == "confirmed"


async def test_seats_stay_final_past_the_holds_end_while_the_money_is_taken(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway
) -> None:
    input, gate = hall.input(hold_seconds=1, hold_max_seconds=1), Gate(taken=False)
    gateway.turns = [gate]

    async def hold_is_over() -> bool:
        return bool(
            await promising.rows(
                "SELECT id FROM bookings WHERE id = :id AND hold_expires_at < clock_timestamp()",
                id=UUID(input.booking_id),
            )
        )

    async with promising.worker():
        await authorised(promising, provider, input)
        await gate.reached.wait()
        await eventually(hold_is_over)
        with pytest.raises(Conflict):
            await promising.reserve(hall.input())
        gate.open.set()
        assert (await promising.handle(input).result())["state"] == "confirmed"
    assert await promising.claims(input) == SOLD


@pytest.mark.parametrize("taken", [True, False])
async def test_a_worker_that_ends_while_it_takes_the_money_loses_nothing(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway, taken: bool
) -> None:
    input, gate = hall.input(), Gate(taken=taken)
    gateway.turns = [gate]
    async with promising.worker():
        reference = await authorised(promising, provider, input)
        await gate.reached.wait()
    async with promising.worker():
        assert (await promising.handle(input).result())["state"] == "confirmed"
    assert provider.payment(reference)["captured"] == 2400
    assert await promising.claims(input) == SOLD
    assert await is_settled(promising, input)


async def test_with_all_of_temporals_data_lost_the_money_is_still_taken(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway
) -> None:
    """PostgreSQL alone says that it is being taken; the process that starts anew goes on there."""
    input, gate = hall.input(hold_seconds=1, hold_max_seconds=1), Gate(taken=True)
    gateway.turns = [gate]
    async with promising.worker():
        reference = await authorised(promising, provider, input)
        await gate.reached.wait()
        await promising.handle(input).terminate("all data is lost")
        brief = await promising.work.booking_input(UUID(input.booking_id))
        assert brief is not None
        await promising.process.ensure_running(brief)
        assert (await promising.handle(input).result())["state"] == "confirmed"
    assert provider.payment(reference)["captured"] == 2400
    assert await is_settled(promising, input)


async def test_the_reaper_finds_promises_that_nobody_acts_on_and_no_others(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway
) -> None:
    taken, lost = hall.input("A1"), hall.input("A2")
    gate = Gate(taken=False)
    gateway.turns = [gate]
    async with promising.worker():
        wanted = await authorised(promising, provider, taken)
        await gate.reached.wait()
        unwanted = await late(promising, provider, lost)
        found = await promising.work.open_promises(seconds=-60, limit=1000)
        assert await receipt_id(promising, wanted) not in found
        gate.open.set()
        await promising.handle(taken).result()
        assert await let_go(promising, unwanted) == "voided"
    assert await receipt_id(promising, unwanted) not in await promising.work.open_promises(
        seconds=-60, limit=1000
    )
    assert await ReaperLoop(promising.work, promising.process, promising.news).one_pass() == 0


async def test_a_provider_that_never_says_whether_it_took_the_money_becomes_a_case(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway
) -> None:
    input, gate = hall.input(), Gate(taken=False)
    gateway.turns = [gate, be_away, be_away]
    async with promising.worker():
        reference = await authorised(promising, provider, input)
        await gate.reached.wait()
        found = str(await receipt_id(promising, reference))
        steps = GatewayCaptureActivities(promising.begin, promising.gateways)
        for tries in (capture.TRIES_BEFORE_CASE - 1, capture.TRIES_BEFORE_CASE):
            assert await cases(promising, input) == []
            run = ActivityEnvironment()
            run.info = replace(run.info, attempt=tries)
            with pytest.raises(Unavailable):
                await run.run(steps.capture_payment, CaptureStep(input.booking_id, found, None))
        assert await cases(promising, input) == [("payment_uncertain",)]
        gate.open.set()
        assert (await promising.handle(input).result())["state"] == "confirmed"


async def attempts(saga: Saga, input: BookingInput) -> list[tuple[Any, ...]]:
    return await saga.rows(
        "SELECT status FROM payments WHERE booking_id = :id", id=UUID(input.booking_id)
    )


async def cases(saga: Saga, input: BookingInput) -> list[tuple[Any, ...]]:
    return await saga.rows(
        "SELECT kind FROM cases WHERE booking_id = :id", id=UUID(input.booking_id)
    )


async def test_cancelling_the_workflow_itself_lets_the_capture_end(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway
) -> None:
    input, gate = hall.input(), Gate(taken=True)
    gateway.turns = [gate]
    async with promising.worker():
        reference = await authorised(promising, provider, input)
        await gate.reached.wait()
        await promising.handle(input).cancel()
        gate.open.set()
        assert (await promising.handle(input).result())["state"] == "confirmed"
    assert provider.payment(reference)["captured"] == 2400


async def test_a_promise_on_an_older_page_counts_beside_an_open_one(
    promising: Saga, hall: Hall, provider: Sandbox
) -> None:
    """By accident of the provider; recording it must not fail on the page that is open now."""
    input = hall.input()
    async with promising.worker():
        await promising.reserve(input)
        older = await promising.checkout(input)
        pay(provider, older, "failed")
        provider.post(f"/v1/sessions/{older}/expire")
        await tell(promising, older)
        newer = await promising.checkout(input)
        assert newer != older
        first = pay(provider, older, "authorised", force=True)
        await tell(promising, older)
        assert (await promising.handle(input).result())["state"] == "confirmed"
        second = pay(provider, newer, "authorised")
        await tell(promising, newer)
        assert await let_go(promising, second) == "voided"
    assert provider.payment(first)["captured"] == 2400
    assert await is_settled(promising, input)
