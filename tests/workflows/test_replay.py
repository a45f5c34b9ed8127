"""Recorded histories of every path, replayed by today's code: a change that breaks them stops here.

Record them anew with ``RECORD_HISTORIES=1 pytest tests/workflows/test_replay.py``; never
edit one by hand, and never record over one of a released version.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowRunner

from contracts.booking import BOOKING_QUEUE, BookingContract
from contracts.reconcile import ReconcileContract, ReconcileInput
from contracts.refund import refund_workflow_id
from domain.errors import Conflict
from domain.offer import OfferState
from domain.steps import BookingInput, BookingResult, CancelRequest, ExtendRequest
from infra.payloads import PLAIN
from tests.factories import Hall
from tests.helpers.eventually import eventually
from tests.helpers.late import Late, rival_takes, write
from tests.helpers.saga import SANDBOXED, Saga
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.promise_paths import PROMISE_PATHS
from tests.workflows.show_paths import SHOW_PATHS
from tests.workflows.test_booking_paths import pay, tell
from tests.workflows.test_refunds import ask, result, sold
from workflows import policies
from workflows.booking import BookingWorkflow
from workflows.late_payment import LatePaymentWorkflow
from workflows.reconcile import ReconcileWorkflow
from workflows.refund import RefundWorkflow
from workflows.show_cancel import ShowCancelWorkflow

WORKFLOWS = [
    BookingWorkflow,
    LatePaymentWorkflow,
    ReconcileWorkflow,
    RefundWorkflow,
    ShowCancelWorkflow,
]
HISTORIES = Path(__file__).parents[1] / "histories"
RECORDING = bool(os.environ.get("RECORD_HISTORIES"))
HALF_OVER = """
SELECT id FROM bookings
WHERE id = :id AND hold_expires_at < clock_timestamp() + interval '1 second'
"""
Path_ = Callable[[Saga, Hall, Sandbox], Awaitable[str]]


async def confirmed(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    input = hall.input()
    async with saga.worker():
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        pay(provider, session_id)
        await tell(saga, session_id)
        await saga.handle(input).result()
    return saga.handle(input).id


async def lapsed(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    input = hall.input(hold_seconds=1, hold_max_seconds=2)
    async with saga.worker():
        await saga.reserve(input)
        await saga.checkout(input)
        await saga.handle(input).result()
    return saga.handle(input).id


async def cancelled(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    input = hall.input()
    async with saga.worker():
        await saga.reserve(input)
        handle = saga.handle(input)
        await handle.execute_update(BookingContract.cancel, CancelRequest(input.user_id))
        await handle.result()
    return handle.id


async def payment_failed(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    input = hall.input(hold_seconds=1, hold_max_seconds=2)
    async with saga.worker():
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        pay(provider, session_id, "failed")
        await tell(saga, session_id)
        await saga.handle(input).result()
    return saga.handle(input).id


async def refused(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    """PostgreSQL refuses what Redis, flushed meanwhile, did not know."""
    winner, loser = hall.input(), hall.input()
    async with saga.worker():
        await saga.reserve(winner)
        async with saga.begin() as tx:
            await tx.bookings.add_request(loser, key_hash=None, body_hash=b"body")
        outcome = await saga.process.reserve(loser)
        assert outcome.code == "seats_unavailable"
        await saga.handle(loser).result()
        with pytest.raises(Conflict):
            await saga.reserve(hall.input())
    return saga.handle(loser).id


async def extended(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    """Extended so late that the timer, when it fires, finds the hold still running."""
    input = hall.input(hold_seconds=2, hold_max_seconds=60)

    async def half_is_over() -> bool:
        return bool(await saga.rows(HALF_OVER, id=input.booking_id))

    async with saga.worker():
        await saga.reserve(input)
        await eventually(half_is_over)
        handle = saga.handle(input)
        await handle.execute_update(BookingContract.extend, ExtendRequest(input.user_id))
        await handle.result()
    return handle.id


async def worker_killed_mid_hold(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    """The second worker has nothing cached and replays what the first one did."""
    input = hall.input()
    async with saga.worker():
        await saga.reserve(input)
        session_id = await saga.checkout(input)
    pay(provider, session_id)
    await tell(saga, session_id)
    async with saga.worker():
        await saga.handle(input).result()
    return saga.handle(input).id


async def late_payment(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    """Its seats are gone, and it goes back."""
    async with saga.worker():
        late = await Late.expired(saga, hall, provider)
        await rival_takes(saga.engine, saga, hall, "A2")
        receipt_id = await late.pay()
        assert await late.outcome(receipt_id) == "succeeded"
    return late.handle(receipt_id).id


async def late_reinstated(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    async with saga.worker():
        late = await Late.expired(saga, hall, provider)
        receipt_id = await late.pay()
        assert await late.outcome(receipt_id) == "confirmed"
    return late.handle(receipt_id).id


async def late_offered(saga: Saga, hall: Hall, provider: Sandbox) -> tuple[Late, str]:
    await write(saga.engine, "UPDATE shows SET offers_seats = true WHERE id = :id", hall.show_id)
    late = await Late.expired(saga, hall, provider)
    await rival_takes(saga.engine, saga, hall, "A2")
    receipt_id = await late.pay()
    await late.offered(receipt_id)
    return late, receipt_id


async def late_offer_accepted(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    async with saga.worker():
        late, receipt_id = await late_offered(saga, hall, provider)
        await late.answer(receipt_id, OfferState.ACCEPTED)
        assert await late.outcome(receipt_id) == "confirmed"
    return late.handle(receipt_id).id


async def late_offer_declined(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    async with saga.worker():
        late, receipt_id = await late_offered(saga, hall, provider)
        await late.answer(receipt_id, OfferState.DECLINED)
        assert await late.outcome(receipt_id) == "succeeded"
    return late.handle(receipt_id).id


async def late_offer_lapsed(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    saga.late = replace(saga.late, offer_seconds=2)
    async with saga.worker():
        late, receipt_id = await late_offered(saga, hall, provider)
        assert await late.outcome(receipt_id) == "succeeded"
    return late.handle(receipt_id).id


async def refunded(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    input = hall.input()
    async with saga.worker():
        await sold(saga, input, provider)
        number = await ask(saga, input)
        assert await result(saga, input, number) == "succeeded"
    return refund_workflow_id(input.booking_id, number)


async def refund_refused(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    """The undo: the money is disputed, so the provider sends nothing back."""
    input = hall.input()
    async with saga.worker():
        reference = await sold(saga, input, provider)
        provider.post(f"/test/payments/{reference}/dispute", {"outcome": "opened"})
        number = await ask(saga, input)
        assert await result(saga, input, number) == "failed"
    return refund_workflow_id(input.booking_id, number)


async def refund_retried(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    """The bank could not credit it twice; the third sending, under a third key, is taken."""
    input = hall.input()
    waits = policies.REFUND_RETRY_WAITS
    policies.REFUND_RETRY_WAITS = (timedelta(seconds=2),) * len(waits)
    try:
        async with saga.worker():
            await sold(saga, input, provider)
            provider.configure(refund_outcome="failed")
            number = await ask(saga, input)

            async def failed_twice() -> bool:
                [[tries]] = await saga.rows(
                    "SELECT tries FROM refunds WHERE booking_id = :id", id=UUID(input.booking_id)
                )
                return bool(tries == 2)

            await eventually(failed_twice, seconds=30)
            provider.configure(**NO_FAULTS)
            assert await result(saga, input, number) == "succeeded"
    finally:
        policies.REFUND_RETRY_WAITS = waits
        provider.configure(**NO_FAULTS)
    return refund_workflow_id(input.booking_id, number)


async def reconciled(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    workflow_id = f"reconcile-{hall.show_id}"
    async with saga.worker():
        await saga.client.execute_workflow(
            ReconcileContract.run,
            ReconcileInput(["sandbox"]),
            id=workflow_id,
            task_queue=BOOKING_QUEUE,
        )
    return workflow_id


PATHS: list[Path_] = [
    confirmed,
    lapsed,
    cancelled,
    payment_failed,
    refused,
    extended,
    worker_killed_mid_hold,
    late_payment,
    late_reinstated,
    late_offer_accepted,
    late_offer_declined,
    late_offer_lapsed,
    refunded,
    refund_refused,
    refund_retried,
    reconciled,
    *PROMISE_PATHS,
    *SHOW_PATHS,
]


@pytest.mark.skipif(not RECORDING, reason="records only when asked to")
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
async def test_record(path: Path_, saga: Saga, hall: Hall, provider: Sandbox) -> None:
    saga = saga.speaking(PLAIN)
    workflow_id = await path(saga, hall, provider)
    history = await saga.client.get_workflow_handle(workflow_id).fetch_history()
    HISTORIES.mkdir(exist_ok=True)
    text = json.dumps(json.loads(history.to_json(), object_hook=without_traces), indent=1)
    (HISTORIES / f"{path.__name__}.json").write_text(text + "\n")


def without_traces(part: dict[str, Any]) -> dict[str, Any]:
    """A failure without its stack trace, which names the recording machine's folders."""
    part.pop("stackTrace", None)
    return part


def recorded(name: str) -> WorkflowHistory:
    return WorkflowHistory.from_json(name, (HISTORIES / f"{name}.json").read_text())


@pytest.mark.parametrize(
    "runner", [UnsandboxedWorkflowRunner(), SANDBOXED], ids=["plain", "sandbox"]
)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
async def test_todays_code_replays_what_ran_before(path: Path_, runner: WorkflowRunner) -> None:
    replayer = Replayer(
        workflows=WORKFLOWS,
        workflow_runner=runner,
        data_converter=PLAIN,
    )
    await replayer.replay_workflow(recorded(path.__name__))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
async def test_a_worker_that_starts_in_the_middle_goes_on_from_there(path: Path_) -> None:
    """Cut off before each workflow task, as the next worker finds it after a kill."""
    whole = recorded(path.__name__)
    cuts = [
        place
        for place, event in enumerate(whole.events, start=1)
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED
    ]
    assert cuts
    replayer = Replayer(
        workflows=WORKFLOWS,
        workflow_runner=UnsandboxedWorkflowRunner(),
        data_converter=PLAIN,
    )
    for cut in cuts:
        await replayer.replay_workflow(WorkflowHistory(whole.workflow_id, whole.events[:cut]))


@workflow.defn(name="Booking")
class Changed(BookingWorkflow):
    """The same booking with one step more at its start."""

    @workflow.init
    def __init__(self, input: BookingInput) -> None:
        super().__init__(input)

    @workflow.run
    async def run(self, input: BookingInput) -> BookingResult:
        await workflow.sleep(1)
        return await super().run(input)


async def test_a_changed_order_of_steps_does_not_replay() -> None:
    replayer = Replayer(
        workflows=[Changed],
        workflow_runner=UnsandboxedWorkflowRunner(),
        data_converter=PLAIN,
    )
    with pytest.raises(workflow.NondeterminismError):
        await replayer.replay_workflow(recorded("confirmed"))
