"""What is of no more use: answers kept for repeats, refresh tokens whose family is over."""

from __future__ import annotations

import structlog

from services.work import WorkQueue

log = structlog.get_logger(__name__)
BATCH = 1000


class SweepLoop:
    def __init__(self, work: WorkQueue) -> None:
        self._work = work

    async def one_pass(self) -> int:
        swept = await self._work.sweep()
        if swept:
            log.info("swept", rows=swept)
        return swept
