"""What nobody came for: dead requests, overdue holds, money told but not heard."""

from __future__ import annotations

from uuid import UUID

import structlog

from loops.edge import Round, each
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

    def __init__(
        self, work: WorkQueue, process: BookingProcess, news: PaymentNews, *, batch: int = BATCH
    ) -> None:
        self._work = work
        self._process = process
        self._news = news
        self._bookings = Round(work.overdue_bookings, OVERDUE_SECONDS, batch)
        self._captures = Round(work.undecided_captures, UNHEARD_SECONDS, batch)
        self._promises = Round(work.open_promises, UNHEARD_SECONDS, batch)
        self._offers = Round(work.overdue_offers, OVERDUE_SECONDS, batch)
        self._refunds = Round(work.pending_refunds, UNHEARD_SECONDS, batch)
        self._asked = Round(work.asked_refunds, UNHEARD_SECONDS, batch)

    async def one_pass(self) -> int:
        """Always answers 0: the rest between two passes is the reaper's pace."""
        if dead := await self._work.settle_dead_requests():
            log.warning("requests_settled", count=dead)
        tell, send = self._news.tell_again, self._send_money_back
        failed = [
            *await each(self._bookings.next(), self._wake),
            *await each(self._captures.next(), tell),
            *await each(self._promises.next(), tell),
            *await each(self._offers.next(), send),
            *await each(self._refunds.next(), send),
            *await each(self._asked.next(), self._refund),
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
