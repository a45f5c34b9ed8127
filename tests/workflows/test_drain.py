"""A worker that is told to end finishes what it has in hand."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio import workflow
from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    ScheduleState,
    WorkflowHandle,
    WorkflowUpdateStage,
)
from temporalio.worker import Worker

import worker as process
from contracts.booking import BOOKING_QUEUE, PAYMENT_QUEUE, BookingContract
from contracts.reconcile import SCHEDULE_ID, ReconcileContract, ReconcileInput
from contracts.show_cancel import ShowCancelSteps
from domain.show_cancel import ShowStep
from domain.steps import CancelRequest
from infra.settings import Settings
from loops.sweep import SweepLoop
from tests.factories import Hall
from tests.fixtures import servers
from tests.helpers.eventually import eventually
from tests.helpers.relay import Relay
from tests.helpers.saga import UNSANDBOXED, Saga
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.stack.command import CLEAN, ROOT
from worker import LAST_POLL
from workflows import policies

LATE_MS = 3000
SHUTDOWN = Worker.shutdown
ON_ITS_WAY = [(PendingActivityState.PENDING_ACTIVITY_STATE_STARTED, 1)]


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
    saga: Saga, settings: Settings, provider: Sandbox, log: Path, **changes: str
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """``seathold worker`` on the tests' servers, as soon as it says that it is ready."""
    environment = {
        **CLEAN,
        "SEATHOLD_DATABASE_URL": settings.database_url.get_secret_value(),
        "SEATHOLD_REDIS_URL": settings.redis_url.get_secret_value(),
        "SEATHOLD_SANDBOX_URL": provider.url,
        "TEMPORAL_ADDRESS": saga.client.service_client.config.target_host,
        "TEMPORAL_NAMESPACE": saga.client.namespace,
        **changes,
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


async def test_a_pass_that_does_not_end_keeps_no_worker_from_its_end(
    saga: Saga, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a database of its own, where the loops find nothing."""
    begun, stop = asyncio.Event(), asyncio.Event()
    drained = {queue: asyncio.Event() for queue in (BOOKING_QUEUE, PAYMENT_QUEUE)}

    async def endless(_: SweepLoop) -> int:
        begun.set()
        await asyncio.gather(*(one.wait() for one in drained.values()))
        never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        return await never

    async def shutdown(worker: Worker) -> None:
        await SHUTDOWN(worker)
        drained[worker.task_queue].set()

    monkeypatch.setattr(SweepLoop, "one_pass", endless)
    monkeypatch.setattr(Worker, "shutdown", shutdown)
    monkeypatch.setattr(process, "DRAIN", timedelta(seconds=5))
    url = await asyncio.to_thread(
        servers.make_database, os.environ[servers.DATABASE], f"drain_{saga.client.namespace}"
    )
    own = settings.model_copy(update={"database_url": SecretStr(servers.as_app(url))})
    async with no_reconciliation(saga), asyncio.timeout(60):
        serving = asyncio.create_task(process.serve(own, "all", stop))
        await begun.wait()
        stop.set()
        await serving
    assert all(one.is_set() for one in drained.values()), "they ended while it was at work"


@workflow.defn
class OneStep:
    @workflow.run
    async def run(self, show_id: str) -> None:
        step = ShowStep(show_id, None, 1, None)
        await workflow.execute_activity_method(
            ShowCancelSteps.read_left, step, **policies.SHOW_STEP
        )


async def attempts(handle: WorkflowHandle[Any, Any]) -> list[tuple[int, int]]:
    """Of each step that is not over: its state, and which try it is."""
    described = (await handle.describe()).raw_description.pending_activities
    return [(step.state, step.attempt) for step in described]


@pytest.mark.parametrize(("wait", "is_lost"), [("3000", False), ("0", True)])
async def test_a_task_on_its_way_to_a_worker_that_ends_is_not_lost(
    saga: Saga,
    hall: Hall,
    settings: Settings,
    provider: Sandbox,
    tmp_path: Path,
    wait: str,
    *,
    is_lost: bool,
) -> None:
    """The negative control hangs up at once: nobody has the task before a minute is over."""
    queue, log = f"one-step-{hall.show_id}", tmp_path / "worker.log"
    async with (
        no_reconciliation(saga),
        Worker(saga.client, task_queue=queue, workflows=[OneStep], workflow_runner=UNSANDBOXED),
        Relay.to(f"http://{saga.client.service_client.config.target_host}") as line,
        worker_process(
            saga,
            settings,
            provider,
            log,
            TEMPORAL_ADDRESS=line.url.rpartition("@")[2],
            **{LAST_POLL[0]: wait},
        ) as process,
    ):
        line.speaks.clear()
        handle = await saga.client.start_workflow(
            OneStep.run, str(hall.show_id), id=queue, task_queue=queue
        )

        async def is_handed_out() -> bool:
            return await attempts(handle) == ON_ITS_WAY

        await eventually(is_handed_out, seconds=30)
        said = line.said

        async def is_ending() -> bool:
            told = await asyncio.to_thread(log.read_text)
            return "Beginning worker shutdown" in told and line.said > said

        process.send_signal(signal.SIGTERM)
        await eventually(is_ending, seconds=30)
        line.speaks.set()
        assert await asyncio.to_thread(process.wait, 60) == 0
        if is_lost:
            assert await attempts(handle) == ON_ITS_WAY
            await handle.terminate()
        else:
            await handle.result()
