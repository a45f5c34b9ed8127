"""Each step failed before and after its effect, and run twice: a clean slate, or the right end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio.client import WorkflowUpdateStage

from contracts.booking import BookingContract
from domain.errors import Unavailable
from domain.steps import CancelRequest, ExtendRequest, ExtendStep
from services import booking
from services.desk import Caller
from tests.factories import Hall
from tests.helpers.eventually import eventually
from tests.helpers.late import page_of_ended_hold
from tests.helpers.saga import OTHER_WAYS, Fault, Saga
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.test_booking_paths import pay, tell
from tests.workflows.test_replay import (
    Path_,
    cancelled,
    confirmed,
    extended,
    lapsed,
    payment_failed,
)

STEPS_OF_CLOSING = ["close_hold", "close_session", "finish_close"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_hold_that_fails_for_good_leaves_a_clean_slate(
    saga: Saga, hall: Hall, when: str
) -> None:
    input, fault = hall.input(), Fault("hold_seats", when)
    async with saga.worker(fault):
        with pytest.raises(Unavailable):
            await saga.reserve(input)
        assert (await saga.handle(input).result())["state"] == "rejected"
    assert fault.times_run("close_hold", input.booking_id) == 1, "the undo ran"
    assert await saga.claims(input) == {}
    assert await saga.state(input) in (None, "expired")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_hold_that_fails_once_is_held_once(saga: Saga, hall: Hall, when: str) -> None:
    input, fault = hall.input(), Fault("hold_seats", when, times=1)
    async with saga.worker(fault):
        assert await saga.reserve(input) == "held"
    assert fault.failed == 1
    assert (await saga.events(input)).count("ReservationCreated") == 1
    assert await saga.claims(input) == {"A1": "held", "A2": "held"}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("times", [1, 4])
async def test_confirming_is_never_given_up(
    saga: Saga, hall: Hall, provider: Sandbox, when: str, times: int
) -> None:
    """Four failures are more than the local tries: the durable step takes over."""
    input, fault = hall.input(), Fault("confirm_booking", when, times=times)
    async with saga.worker(fault):
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        pay(provider, session_id)
        await tell(saga, session_id)
        assert (await saga.handle(input).result())["state"] == "confirmed"
    assert fault.failed == times
    assert await saga.claims(input) == {"A1": "sold", "A2": "sold"}
    assert (await saga.events(input)).count("BookingConfirmed") == 1


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("times", [1, 4])
async def test_each_extension_is_taken_once(saga: Saga, hall: Hall, when: str, times: int) -> None:
    """A reply that was lost costs no extension, and refuses nobody what was given to them."""
    input, request = hall.input(), ExtendRequest("operator:eve", "she is on her way")
    faults = [Fault("extend_hold", when, times=times, repeat=2) for _ in range(2)]
    for left, fault in zip((1, 0), faults, strict=True):
        async with saga.worker(fault):
            await saga.reserve(input)
            outcome = await saga.handle(input).execute_update(BookingContract.extend, request)
            assert outcome.code is None
        assert fault.failed == times
        assert await saga.rows(
            "SELECT extensions_left FROM bookings WHERE id = :id", id=UUID(input.booking_id)
        ) == [(left,)]
    assert (await saga.events(input)).count("HoldExtended") == 2
    audited = await saga.rows(
        "SELECT action FROM audit_log WHERE target = :it", it=f"booking:{input.booking_id}"
    )
    assert audited == [("booking.extend",)] * 2
    async with saga.worker():
        refused = await saga.handle(input).execute_update(BookingContract.extend, request)
    assert refused.code == "extension_limit"


@pytest.mark.parametrize("running", [True, False])
async def test_an_extension_asked_for_again_is_the_same_one(
    saga: Saga, hall: Hall, running: bool
) -> None:
    """A client that got no answer repeats its request under its key, whoever takes the step."""
    input, wish = hall.input(), uuid4()
    caller = Caller(UUID(input.user_id), None)
    async with saga.worker():
        await saga.reserve(input)
        if running:
            await saga.desk.extend(caller, UUID(input.booking_id), extension_id=wish)
        else:
            await saga.handle(input).terminate()
            step = ExtendStep(input.booking_id, 600, ExtendRequest(input.user_id), str(wish))
            async with saga.begin() as tx:
                await booking.extend(tx, step)
        await saga.desk.extend(caller, UUID(input.booking_id), extension_id=wish)
    assert (await saga.events(input)).count("HoldExtended") == 1


@pytest.mark.parametrize("step", STEPS_OF_CLOSING)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("times", [1, 4])
async def test_closing_is_never_given_up(
    saga: Saga, hall: Hall, step: str, when: str, times: int
) -> None:
    input, fault = hall.input(), Fault(step, when, times=times)
    async with saga.worker(fault):
        await saga.reserve(input)
        await saga.checkout(input)
        handle = saga.handle(input)
        await handle.start_update(
            BookingContract.cancel,
            CancelRequest(input.user_id),
            wait_for_stage=WorkflowUpdateStage.ACCEPTED,
        )
        assert (await handle.result())["state"] == "cancelled"
    assert fault.failed == times
    assert await saga.claims(input) == {}
    assert (await saga.events(input)).count("BookingCancelled") == 1


async def test_every_step_run_twice_changes_things_once(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    fault = Fault(repeat=2)
    paid, lapsed = hall.input("A1"), hall.input("A2", hold_seconds=1, hold_max_seconds=2)
    async with saga.worker(fault):
        await saga.reserve(paid)
        session_id = await saga.checkout(paid)
        pay(provider, session_id)
        await tell(saga, session_id)
        assert (await saga.handle(paid).result())["state"] == "confirmed"
        await saga.reserve(lapsed)
        await saga.checkout(lapsed)
        assert (await saga.handle(lapsed).result())["state"] == "expired"
    assert {step for step, _ in fault.ran} >= {"hold_seats", "confirm_booking", *STEPS_OF_CLOSING}
    for input, once in ((paid, "BookingConfirmed"), (lapsed, "BookingExpired")):
        events = await saga.events(input)
        assert events.count("ReservationCreated") == 1
        assert events.count(once) == 1
    assert await saga.claims(paid) == {"A1": "sold"}


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_refund_is_sent_once_whatever_fails(
    saga: Saga, hall: Hall, provider: Sandbox, when: str
) -> None:
    input, fault = hall.input(), Fault("send_refund", when, 2)
    async with saga.worker(fault):
        session_id = await page_of_ended_hold(saga, input)
        await saga.reserve(hall.input())  # whose seats are gone, gets the money back
        payment_id = pay(provider, session_id, force=True)
        await tell(saga, session_id)
        [[receipt_id]] = await saga.rows(
            "SELECT id FROM provider_payments WHERE reference = :ref", ref=payment_id
        )
        await saga.client.get_workflow_handle(f"late-payment-{receipt_id}").result()
    assert fault.failed == 2
    assert provider.payment(payment_id)["refunded"] == 2400
    [[refunds]] = await saga.rows(
        "SELECT count(*) FROM refunds WHERE provider_payment_id = :id", id=receipt_id
    )
    assert refunds == 1


async def test_a_refund_whose_answer_was_lost_is_found_by_its_key(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    """The money went back and nobody told us: asked again, the provider knows the same refund."""
    input = hall.input()
    async with saga.worker():
        session_id = await page_of_ended_hold(saga, input)
        await saga.reserve(hall.input())  # whose seats are gone, gets the money back
    payment_id = pay(provider, session_id, force=True)
    await tell(saga, session_id)
    provider.configure(fail_after_effect=True, respond="429")

    def refunds() -> list[dict[str, Any]]:
        ledger = provider.get("/test/ledger").json()
        return [one for one in ledger["refunds"] if one["payment_id"] == payment_id]

    async def has_gone_back() -> bool:
        return bool(refunds())

    try:
        async with saga.worker():
            await eventually(has_gone_back, seconds=30)
            provider.configure(**NO_FAULTS)
            [[receipt_id]] = await saga.rows(
                "SELECT id FROM provider_payments WHERE reference = :ref", ref=payment_id
            )
            late = saga.client.get_workflow_handle(f"late-payment-{receipt_id}")
            async with asyncio.timeout(30):
                await late.result()
    finally:
        provider.configure(**NO_FAULTS)
    [refund] = refunds()
    assert await saga.rows(
        "SELECT status, reference FROM refunds WHERE provider_payment_id = :id", id=receipt_id
    ) == [("succeeded", refund["id"])]


@pytest.mark.parametrize(
    ("path", "end"),
    [
        (confirmed, "confirmed"),
        (lapsed, "expired"),
        (cancelled, "cancelled"),
        (extended, "expired"),
        (payment_failed, "expired"),
    ],
)
@pytest.mark.parametrize("how", OTHER_WAYS.values(), ids=OTHER_WAYS)
async def test_the_saga_runs_sandboxed_and_without_a_cache(
    saga: Saga, hall: Hall, provider: Sandbox, path: Path_, end: str, how: dict[str, Any]
) -> None:
    """Without a cache every task replays the whole history:
    the cheapest search for what differs."""
    workflow_id = await path(replace(saga, **how), hall, provider)
    result = await saga.client.get_workflow_handle(workflow_id).result()
    assert result["state"] == end
