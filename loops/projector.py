"""Projections follow the events; what comes during a rest is taken together."""

from __future__ import annotations

from readmodel.projections.projector import BATCH, Projector

__all__ = ["BATCH", "REST_SECONDS", "ProjectorLoop"]

# A reading costs the same for one event as for fifty: looking more often made bookings dearer.
REST_SECONDS = 1.0


class ProjectorLoop:
    def __init__(self, projector: Projector) -> None:
        self._projector = projector

    async def one_pass(self) -> int:
        return await self._projector.turn()
