"""The schedule of reconciliations: as the code says, however often a worker starts."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from temporalio.client import Client, ScheduleActionStartWorkflow, ScheduleOverlapPolicy

from contracts.reconcile import ReconcileInput
from infra.schedules import schedule_reconciliation


async def test_it_is_made_once_changed_after_and_stays_paused(temporal: Client) -> None:
    schedule_id = f"reconcile-{uuid4()}"
    handle = temporal.get_schedule_handle(schedule_id)
    try:
        await schedule_reconciliation(temporal, ["stripe", "sandbox"], schedule_id=schedule_id)
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
