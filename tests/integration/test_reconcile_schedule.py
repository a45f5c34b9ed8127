"""The schedule of reconciliations: as the code says, however often a worker starts."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from temporalio.client import (
    Client,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleHandle,
    ScheduleOverlapPolicy,
)

from contracts.reconcile import ReconcileInput
from infra.schedules import schedule_reconciliation
from tests.helpers.eventually import eventually


async def end_first_run(temporal: Client, handle: ScheduleHandle) -> None:
    """It is started at once; left open, whoever brings the next worker would find it at work."""

    async def has_begun() -> bool:
        return bool((await handle.describe()).info.recent_actions)

    await eventually(has_begun, message="no run was started")
    [begun] = (await handle.describe()).info.recent_actions
    assert isinstance(begun.action, ScheduleActionExecutionStartWorkflow)
    await temporal.get_workflow_handle(begun.action.workflow_id).terminate()


async def test_it_is_made_once_changed_after_and_stays_paused(temporal: Client) -> None:
    schedule_id = f"reconcile-{uuid4()}"
    handle = temporal.get_schedule_handle(schedule_id)
    try:
        await schedule_reconciliation(temporal, ["stripe", "sandbox"], schedule_id=schedule_id)
        await end_first_run(temporal, handle)
        schedule = (await handle.describe()).schedule
        assert [one.every for one in schedule.spec.intervals] == [timedelta(minutes=5)]
        assert schedule.policy.overlap is ScheduleOverlapPolicy.SKIP
        assert schedule.policy.catchup_window == timedelta(minutes=10)
        await handle.pause(note="the provider is being moved")
        await schedule_reconciliation(temporal, ["sandbox"], schedule_id=schedule_id)
        described = await handle.describe()
        assert described.schedule.state.paused
        action = described.schedule.action
        assert isinstance(action, ScheduleActionStartWorkflow)
        [payload] = action.args
        [told] = await temporal.data_converter.decode([payload], [ReconcileInput])
        assert told == ReconcileInput(["sandbox"])
    finally:
        await handle.delete()
