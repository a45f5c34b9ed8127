"""Open payments are read again from time to time: losing every webhook only delays."""

from __future__ import annotations

import asyncio

import structlog

from domain.errors import Conflict, NotFound, Unavailable
from services.payment_news import PaymentNews
from services.payment_rows import Attempt
from services.process import ProcessAway, ProcessUnknown
from services.work import WorkQueue

log = structlog.get_logger(__name__)
BATCH = 20


class PaymentPollLoop:
    def __init__(self, work: WorkQueue, news: PaymentNews) -> None:
        self._work = work
        self._news = news

    async def one_pass(self) -> int:
        attempts = await self._work.take_polls(BATCH)
        # One page that nothing can read must not keep the others of its batch.
        results = await asyncio.gather(*map(self._read, attempts), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return len(attempts)

    async def _read(self, attempt: Attempt) -> None:
        try:
            await self._news.read_again(attempt)
        except (Unavailable, NotFound, Conflict, ProcessAway, ProcessUnknown) as error:
            log.warning("poll_failed", payment_id=str(attempt.id), reason=str(error))
