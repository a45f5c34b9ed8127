"""What Temporal starts by the clock."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from contracts.booking import BOOKING_QUEUE
from contracts.reconcile import SCHEDULE_ID, ReconcileContract, ReconcileInput

RECONCILE_EVERY = timedelta(minutes=5)


async def schedule_reconciliation(
    client: Client, providers: Iterable[str], *, schedule_id: str = SCHEDULE_ID
) -> None:
    """Make or change the schedule so that it is as this code says; repeating it is harmless.

    Its first run is at once. A pause by an operator stays.
    """
    schedule = _reconciliation(sorted(providers), schedule_id)
    try:
        await client.create_schedule(schedule_id, schedule, trigger_immediately=True)
    except ScheduleAlreadyRunningError:
        handle = client.get_schedule_handle(schedule_id)
        await handle.update(lambda known: _changed(known, schedule))


def _changed(known: ScheduleUpdateInput, schedule: Schedule) -> ScheduleUpdate:
    schedule.state = known.description.schedule.state
    return ScheduleUpdate(schedule=schedule)


def _reconciliation(providers: list[str], schedule_id: str) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            ReconcileContract.run,
            ReconcileInput(providers),
            id=schedule_id,
            task_queue=BOOKING_QUEUE,
            static_summary="Our books against the providers'",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=RECONCILE_EVERY)]),
        policy=SchedulePolicy(
            overlap=ScheduleOverlapPolicy.SKIP,
            # The run after an outage looks back over all of it, so the missed ones are not made up.
            catchup_window=2 * RECONCILE_EVERY,
        ),
        state=ScheduleState(note="Compares, repairs, and opens cases: docs/money.md"),
    )
