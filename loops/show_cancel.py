"""Cancellations on record whose run nobody started, or that Temporal lost."""

from __future__ import annotations

from uuid import UUID

from loops.edge import Round, each
from services.show_cancel import ShowProcess
from services.work import WorkQueue

# The request starts its run at once; later than this it may not have got through.
UNSTARTED_SECONDS = 5.0
BATCH = 100


class ShowCancelLoop:
    def __init__(self, work: WorkQueue, process: ShowProcess, *, batch: int = BATCH) -> None:
        self._shows = Round(work.unfinished_cancellations, UNSTARTED_SECONDS, batch)
        self._process = process

    async def one_pass(self) -> int:
        """Always answers 0: the rest between two passes is its pace."""
        if failed := await each(self._shows.next(), self._start):
            raise failed[0]
        return 0

    async def _start(self, show: tuple[UUID, str | None]) -> None:
        show_id, paused = show
        await self._process.cancel_show(show_id, None, paused=paused)
