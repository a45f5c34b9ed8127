"""What comes in the middle of a step waits for its end, and is answered before the booking is."""

from __future__ import annotations

import asyncio

from temporalio.api.enums.v1 import EventType
from temporalio.client import WithStartWorkflowOperation, WorkflowUpdateStage
from temporalio.common import WorkflowIDConflictPolicy

from contracts.booking import BOOKING_QUEUE, BookingContract
from contracts.late_payment import LatePaymentContract
from domain.offer import LateState, OfferState
from domain.steps import ExtendRequest, OfferAnswer
from tests.factories import Hall
from tests.helpers.eventually import eventually
from tests.helpers.late import Late
from tests.helpers.saga import Gate, Saga
from tests.sandbox.process import Sandbox
from tests.workflows.test_booking_paths import event_types, pay, tell


async def test_cancelling_the_workflow_while_it_confirms_leaves_it_confirmed(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input()
    handle = saga.handle(input)
    gate = Gate("confirm_booking", workflow_id=handle.id)

    async def has_heard() -> bool:
        types = await event_types(handle)
        if EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED not in types:
            return False
        asked = types.index(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
        return EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED in types[asked:]

    async with saga.worker(gate):
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        pay(provider, session_id)
        await tell(saga, session_id)
        await gate.reached.wait()
        await handle.cancel()
        await eventually(has_heard, seconds=30)
        gate.opened.set()
        assert (await handle.result())["state"] == "confirmed"
    assert await saga.claims(input) == {"A1": "sold", "A2": "sold"}


async def test_a_wish_that_comes_while_the_hold_ends_has_its_own_answer(
    saga: Saga, hall: Hall
) -> None:
    """The workflow waits for it before it ends; else its client is told an error of Temporal's."""
    input = hall.input(hold_seconds=1)
    handle = saga.handle(input)
    gate = Gate("close_hold", workflow_id=handle.id)
    async with saga.worker(gate):
        await saga.reserve(input)
        await gate.reached.wait()
        extension = await handle.start_update(
            BookingContract.extend,
            ExtendRequest(input.user_id),
            wait_for_stage=WorkflowUpdateStage.ACCEPTED,
        )
        assert gate.times_run("extend_hold", input.booking_id) == 0, "one step at a time"
        gate.opened.set()
        assert (await extension.result()).code == "hold_expired"
        assert (await handle.result())["state"] == "expired"


async def test_an_extension_of_what_is_then_refused_has_its_answer_too(
    saga: Saga, hall: Hall
) -> None:
    """The booking never comes to be, and its workflow ends all the same."""
    input = hall.input()
    start = WithStartWorkflowOperation(
        BookingContract.run,
        input,
        id=saga.handle(input).id,
        task_queue=BOOKING_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
    )
    async with saga.worker(), asyncio.timeout(30):
        # Nobody wrote its request down, so that the hold is refused.
        outcome = await saga.client.execute_update_with_start_workflow(
            BookingContract.extend, ExtendRequest(input.user_id), start_workflow_operation=start
        )
        assert (outcome.state, outcome.code) == ("rejected", "invalid_state")
        assert (await saga.handle(input).result())["state"] == "rejected"


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
