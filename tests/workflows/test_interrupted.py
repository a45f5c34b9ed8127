"""What comes in the middle of a step waits for its end, and is answered before the booking is."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    WithStartWorkflowOperation,
    WorkflowHandle,
    WorkflowUpdateHandle,
    WorkflowUpdateStage,
)
from temporalio.common import WorkflowIDConflictPolicy

from contracts.booking import BOOKING_QUEUE, BookingContract
from contracts.late_payment import LatePaymentContract
from domain.offer import LateState, OfferState
from domain.steps import (
    BookingInput,
    CancelRequest,
    ExtendRequest,
    OfferAnswer,
    StepOutcome,
)
from tests.factories import Hall
from tests.helpers.eventually import eventually
from tests.helpers.late import Late
from tests.helpers.promises import WilfulGateway, authorised, refuse
from tests.helpers.saga import Fault, Gate, Saga
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.test_booking_paths import event_types, pay, tell


async def test_cancelling_the_workflow_while_it_confirms_leaves_it_confirmed(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input()
    handle = saga.handle(input)
    gate = Gate("confirm_booking", workflow_id=handle.id)

    async with saga.worker(gate):
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        pay(provider, session_id)
        await tell(saga, session_id)
        await gate.reached.wait()
        extension = await asked_to_extend(handle, input)
        assert gate.times_run("extend_hold", input.booking_id) == 0, "one step at a time"
        await cancelled(handle)
        gate.opened.set()
        assert (await extension.result()).code == "invalid_state"
        assert (await handle.result())["state"] == "confirmed"
    assert await saga.claims(input) == {"A1": "sold", "A2": "sold"}
    [[request_id]] = await saga.rows(
        "SELECT request_id FROM events WHERE aggregate_id = :id AND event_type = :told",
        id=UUID(input.booking_id),
        told="BookingConfirmed",
    )
    assert request_id == "webhook", "that of whoever told of the money"


@pytest.mark.parametrize("step", ["close_hold", "close_session"])
async def test_cancelling_the_workflow_while_a_hold_ends_lets_it_end(
    saga: Saga, hall: Hall, step: str
) -> None:
    input = hall.input(hold_seconds=1, hold_max_seconds=1)
    handle = saga.handle(input)
    gate = Gate(step, workflow_id=handle.id)
    async with saga.worker(gate):
        await saga.reserve(input)
        if step == "close_session":
            await saga.checkout(input)
        await gate.reached.wait()
        await cancelled(handle)
        gate.opened.set()
        assert (await handle.result())["state"] == "expired"
    assert await saga.claims(input) == {}


async def test_a_wish_that_comes_while_the_seats_go_free_waits_for_that(
    saga: Saga, hall: Hall
) -> None:
    input = hall.input()
    handle = saga.handle(input)
    gate = Gate("finish_close", workflow_id=handle.id)
    async with saga.worker(gate):
        await saga.reserve(input)
        await saga.checkout(input)
        release = CancelRequest("operator:eve", "the screen is broken")
        await handle.execute_update(BookingContract.force_release, release)
        await gate.reached.wait()
        cancel = await handle.start_update(
            BookingContract.cancel,
            CancelRequest(input.user_id),
            wait_for_stage=WorkflowUpdateStage.ACCEPTED,
        )
        assert gate.times_run("close_hold", input.booking_id) == 1, "one step at a time"
        gate.opened.set()
        assert (await cancel.result()).state == "expired"
        assert (await handle.result())["state"] == "expired"


async def test_a_provider_that_closes_no_page_is_asked_again_only_after_a_while(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input(grace_seconds=60, payment_retry_seconds=60)
    handle, steps = saga.handle(input), Fault()

    async def has_decided() -> bool:
        return steps.times_run("finish_close", input.booking_id) > 0

    async with saga.worker(steps):
        await saga.reserve(input)
        await saga.checkout(input)
        provider.configure(error_rate=1.0)
        try:
            release = CancelRequest("operator:eve", "the screen is broken")
            await handle.execute_update(BookingContract.force_release, release)
            await eventually(has_decided, seconds=30)
            assert (await (await asked_to_extend(handle, input)).result()).code == "hold_expired"
        finally:
            provider.configure(**NO_FAULTS)
        asked = (await event_types(handle)).count(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
    assert asked == 1


async def test_a_wish_that_comes_while_a_capture_is_given_up_waits_for_that(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway
) -> None:
    input = hall.input()
    handle = promising.handle(input)
    gate = Gate("abandon_capture", workflow_id=handle.id)
    gateway.turns = [refuse]
    async with promising.worker(gate):
        await authorised(promising, provider, input)
        await waits_and_finds_it_expired(handle, input, gate)


async def waits_and_finds_it_expired(
    handle: WorkflowHandle[Any, Any], input: BookingInput, gate: Gate
) -> None:
    """A wish for more time that comes while the gated step runs."""
    await gate.reached.wait()
    extension = await asked_to_extend(handle, input)
    assert gate.times_run("extend_hold", input.booking_id) == 0, "one step at a time"
    gate.opened.set()
    assert (await extension.result()).code == "hold_expired"
    assert (await handle.result())["state"] == "expired"


def start_of(saga: Saga, input: BookingInput) -> WithStartWorkflowOperation[Any, Any]:
    """For an update that comes before anything else."""
    return WithStartWorkflowOperation(
        BookingContract.run,
        input,
        id=saga.handle(input).id,
        task_queue=BOOKING_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
    )


async def asked_to_extend(
    handle: WorkflowHandle[Any, Any], input: BookingInput
) -> WorkflowUpdateHandle[StepOutcome]:
    return await handle.start_update(
        BookingContract.extend,
        ExtendRequest(input.user_id),
        wait_for_stage=WorkflowUpdateStage.ACCEPTED,
    )


async def cancelled(handle: WorkflowHandle[Any, Any]) -> None:
    """Cancel the workflow itself, and wait until it has heard."""

    async def has_heard() -> bool:
        types = await event_types(handle)
        if EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED not in types:
            return False
        asked = types.index(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
        return EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED in types[asked:]

    await handle.cancel()
    await eventually(has_heard, seconds=30)


async def test_a_wish_that_comes_while_the_hold_ends_has_its_own_answer(
    saga: Saga, hall: Hall
) -> None:
    """The workflow waits for it before it ends; else its client is told an error of Temporal's."""
    input = hall.input(hold_seconds=1)
    handle = saga.handle(input)
    gate = Gate("close_hold", workflow_id=handle.id)
    async with saga.worker(gate):
        await saga.reserve(input)
        await waits_and_finds_it_expired(handle, input, gate)


async def test_an_extension_of_what_is_then_refused_has_its_answer_too(
    saga: Saga, hall: Hall
) -> None:
    """The booking never comes to be, and its workflow ends all the same."""
    input = hall.input()
    start = start_of(saga, input)
    async with saga.worker(), asyncio.timeout(30):
        # Nobody wrote its request down, so that the hold is refused.
        outcome = await saga.client.execute_update_with_start_workflow(
            BookingContract.extend, ExtendRequest(input.user_id), start_workflow_operation=start
        )
        assert (outcome.state, outcome.code) == ("rejected", "invalid_state")
        assert (await saga.handle(input).result())["state"] == "rejected"


@pytest.mark.parametrize(
    ("update", "wish", "state"),
    [
        (BookingContract.extend, ExtendRequest("operator:eve", "why"), "held"),
        (BookingContract.cancel, CancelRequest("operator:eve", "why"), "cancelled"),
        (BookingContract.force_release, CancelRequest("operator:eve", "why"), "expired"),
    ],
    ids=["extend", "cancel", "force_release"],
)
async def test_a_wish_that_comes_before_the_hold_waits_for_it(
    saga: Saga, hall: Hall, update: Any, wish: object, state: str
) -> None:
    input = hall.input()
    async with saga.begin() as tx:
        await tx.bookings.add_request(input, key_hash=None, body_hash=b"body")
    start = start_of(saga, input)
    async with saga.worker(), asyncio.timeout(30):
        outcome = await saga.client.execute_update_with_start_workflow(
            update, wish, start_workflow_operation=start
        )
    assert (outcome.state, outcome.code) == (state, None)


async def test_an_answer_that_comes_while_late_money_is_judged_is_told_what_it_bought(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    async with saga.worker():
        late = await Late.expired(saga, hall, provider)
    receipt_id = await late.pay()
    handle = late.handle(receipt_id)
    gate = Gate("settle_late", workflow_id=handle.id)
    async with saga.worker(gate), asyncio.timeout(30):
        await gate.reached.wait()
        answer = await handle.start_update(
            LatePaymentContract.answer_offer,
            OfferAnswer(receipt_id, OfferState.ACCEPTED, late.input.user_id),
            wait_for_stage=WorkflowUpdateStage.ACCEPTED,
        )
        gate.opened.set()
        assert (await answer.result()).state is LateState.CONFIRMED
        assert await late.outcome(receipt_id) == "confirmed"
