"""A worker that is told to end finishes what it has in hand."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    ScheduleState,
    WorkflowUpdateStage,
)

from contracts.booking import BOOKING_QUEUE, BookingContract
from contracts.reconcile import SCHEDULE_ID, ReconcileContract, ReconcileInput
from domain.steps import CancelRequest
from infra.settings import Settings
from tests.factories import Hall
from tests.helpers.eventually import eventually
from tests.helpers.saga import Saga
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.stack.command import CLEAN, ROOT

LATE_MS = 3000


@asynccontextmanager
async def no_reconciliation(saga: Saga) -> AsyncIterator[None]:
    """A worker finds its schedule made and paused, and leaves it so."""
    action = ScheduleActionStartWorkflow(
        ReconcileContract.run, ReconcileInput([]), id=SCHEDULE_ID, task_queue=BOOKING_QUEUE
    )
    paused = Schedule(action=action, spec=ScheduleSpec(), state=ScheduleState(paused=True))
    handle = await saga.client.create_schedule(SCHEDULE_ID, paused)
    try:
        yield
    finally:
        await handle.delete()


@asynccontextmanager
async def worker_process(
    saga: Saga, settings: Settings, provider: Sandbox, log: Path
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """``seathold worker`` on the tests' servers, as soon as it says that it is ready."""
    environment = {
        **CLEAN,
        "SEATHOLD_DATABASE_URL": settings.database_url.get_secret_value(),
        "SEATHOLD_REDIS_URL": settings.redis_url.get_secret_value(),
        "SEATHOLD_SANDBOX_URL": provider.url,
        "TEMPORAL_ADDRESS": saga.client.service_client.config.target_host,
        "TEMPORAL_NAMESPACE": saga.client.namespace,
    }
    process = await asyncio.to_thread(_start, environment, log)
    try:

        async def is_ready() -> bool:
            told = await asyncio.to_thread(log.read_text)
            assert process.poll() is None, told
            return "worker_ready" in told

        await eventually(is_ready, seconds=60)
        yield process
    finally:
        process.kill()
        process.wait()


def _start(environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "seathold", "worker", "--role", "booking"]
    with log.open("wb") as told:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=told)


async def test_a_worker_that_is_told_to_end_finishes_its_call_to_the_provider(
    saga: Saga, hall: Hall, settings: Settings, provider: Sandbox, tmp_path: Path
) -> None:
    """Cut off, the call would be made again, by whoever comes next and only after its timeout."""
    input = hall.input()
    handle = saga.handle(input)

    async with (
        no_reconciliation(saga),
        worker_process(saga, settings, provider, tmp_path / "worker.log") as process,
    ):
        await saga.reserve(input)
        session_id = await saga.checkout(input)

        async def is_called() -> bool:
            ledger = await asyncio.to_thread(provider.get, "/test/ledger")
            return any(
                event["type"] == "session.expired" and session_id in str(event)
                for event in ledger.json()["events"]
            )

        # The provider closes the page at once, and says so late.
        provider.configure(hang_ms=LATE_MS, fail_after_effect=True)
        try:
            await handle.start_update(
                BookingContract.cancel,
                CancelRequest(input.user_id),
                wait_for_stage=WorkflowUpdateStage.ACCEPTED,
            )
            await eventually(is_called, seconds=30)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 60) == 0
        finally:
            provider.configure(**NO_FAULTS)
    async with saga.worker():
        assert (await handle.result())["state"] == "cancelled"
    assert await saga.claims(input) == {}
    events = list((await handle.fetch_history()).events)
    called = [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]
    assert called == ["close_session"]
    [started] = [
        event.activity_task_started_event_attributes
        for event in events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
    ]
    assert started.attempt == 1, "it was finished by the one that began it"
