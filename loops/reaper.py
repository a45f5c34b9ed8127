"""What nobody came for: dead requests, overdue holds, money told but not heard."""

from __future__ import annotations

from uuid import UUID

import structlog

from loops.edge import each
from services.payment_news import PaymentNews
from services.process import BookingProcess
from services.work import WorkQueue

log = structlog.get_logger(__name__)
BATCH = 50
# A running workflow acts at the hold's end; later than this it may be gone.
OVERDUE_SECONDS = 5.0
UNHEARD_SECONDS = 5.0


class ReaperLoop:
    """Finds by PostgreSQL alone what must go on, and starts or tells its process."""

    def __init__(self, work: WorkQueue, process: BookingProcess, news: PaymentNews) -> None:
        self._work = work
        self._process = process
        self._news = news

    async def one_pass(self) -> int:
        """Always answers 0: the rest between two passes is the reaper's pace."""
        if dead := await self._work.settle_dead_requests():
            log.warning("requests_settled", count=dead)
        work, tell, send = self._work, self._news.tell_again, self._send_money_back
        late, unheard = OVERDUE_SECONDS, UNHEARD_SECONDS
        failed = [
            *await each(work.overdue_bookings(seconds=late, limit=BATCH), self._wake),
            *await each(work.undecided_captures(seconds=unheard, limit=BATCH), tell),
            *await each(work.open_promises(seconds=unheard, limit=BATCH), tell),
            *await each(work.overdue_offers(seconds=late, limit=BATCH), send),
            *await each(work.pending_refunds(seconds=unheard, limit=BATCH), send),
            *await each(work.asked_refunds(seconds=unheard, limit=BATCH), self._refund),
        ]
        if failed:
            raise failed[0]
        return 0

    async def _wake(self, booking_id: UUID) -> None:
        input = await self._work.booking_input(booking_id)
        if input is not None:
            await self._process.ensure_running(input)

    async def _send_money_back(self, receipt_id: UUID) -> None:
        await self._process.send_money_back(str(receipt_id), None)

    async def _refund(self, refund: tuple[UUID, int]) -> None:
        await self._process.refund(*refund, None)
