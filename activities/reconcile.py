"""One provider's reconciliation as an activity that tells of each payment it has done."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import structlog
from temporalio import activity

from activities.edge import edge
from contracts.reconcile import ReconcileResult, ReconcileStep, ReconcileSteps
from services.reconcile import Reconciler
from services.reconcile_books import Checkpoint, Tally

log = structlog.get_logger(__name__)


class ReconcileActivities(ReconcileSteps):
    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler

    @activity.defn
    async def reconcile(self, step: ReconcileStep) -> ReconcileResult:
        async with edge("", None):
            told = activity.info().heartbeat_details
            at = _resumed(told[0]) if told else await self._reconciler.start(step.provider)
            tally = await self._reconciler.run(
                step.provider, at, lambda at: activity.heartbeat(asdict(at))
            )
            await self._reconciler.finish(step.provider, at)
        log.info(
            "reconciled",
            provider=step.provider,
            since=at.since,
            compared=tally.compared,
            repaired=tally.repaired,
            left=tally.left,
        )
        return ReconcileResult(
            step.provider, True, tally.compared, tally.repaired, tally.left, tally.told
        )


def _resumed(told: dict[str, Any]) -> Checkpoint:
    """The checkpoint that another try told of last."""
    return Checkpoint(**{**told, "tally": Tally(**told["tally"])})
