"""Each step failed before and after its effect, and run twice: a clean slate, or the right end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateStage

from contracts.booking import BookingContract
from domain.errors import Unavailable
from domain.steps import CancelRequest
from tests.factories import Hall
from tests.helpers.eventually import eventually
from tests.helpers.saga import SANDBOXED, Fault, Saga
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.test_booking_paths import pay, tell

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
    assert fault.ran["close_hold"] == 1, "the undo ran"
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
            CancelRequest("buyer"),
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
    assert set(fault.ran) >= {"hold_seats", "confirm_booking", *STEPS_OF_CLOSING}
    for input, once in ((paid, "BookingConfirmed"), (lapsed, "BookingExpired")):
        events = await saga.events(input)
        assert events.count("ReservationCreated") == 1
        assert events.count(once) == 1
    assert await saga.claims(paid) == {"A1": "sold"}


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_refund_is_sent_once_whatever_fails(
    saga: Saga, hall: Hall, provider: Sandbox, when: str
) -> None:
    input, fault = hall.input(hold_seconds=1, hold_max_seconds=2), Fault("send_refund", when, 2)
    async with saga.worker(fault):
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        await saga.handle(input).result()
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
    input = hall.input(hold_seconds=1, hold_max_seconds=2)
    async with saga.worker():
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        await saga.handle(input).result()
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


@pytest.mark.parametrize("how", ["sandboxed", "no cache"])
async def test_the_saga_runs_sandboxed_and_without_a_cache(
    saga: Saga, hall: Hall, provider: Sandbox, how: str
) -> None:
    """Without a cache every task replays the whole history: the cheapest search for what differs."""
    options = {"runner": SANDBOXED} if how == "sandboxed" else {"max_cached_workflows": 0}
    paid, lapsed = hall.input("A1"), hall.input("A2", hold_seconds=1)
    async with saga.worker(**options):
        await saga.reserve(paid)
        session_id = await saga.checkout(paid)
        pay(provider, session_id)
        await tell(saga, session_id)
        assert (await saga.handle(paid).result())["state"] == "confirmed"
        await saga.reserve(lapsed)
        assert (await saga.handle(lapsed).result())["state"] == "expired"
