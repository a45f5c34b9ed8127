"""What nobody came for: dead requests, overdue holds, money told but not heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import UUID

import structlog

from services.payment_news import PaymentNews
from services.process import BookingProcess
from services.work import WorkQueue

log = structlog.get_logger(__name__)
Item = TypeVar("Item")
BATCH = 50
# While Temporal is away each of a batch waits its time out: together, a pass still ends.
AT_ONCE = 10
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
            *await _each(work.overdue_bookings(seconds=late, limit=BATCH), self._wake),
            *await _each(work.undecided_captures(seconds=unheard, limit=BATCH), tell),
            *await _each(work.open_promises(seconds=unheard, limit=BATCH), tell),
            *await _each(work.overdue_offers(seconds=late, limit=BATCH), send),
            *await _each(work.pending_refunds(seconds=unheard, limit=BATCH), send),
            *await _each(work.asked_refunds(seconds=unheard, limit=BATCH), self._refund),
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


async def _each(
    found: Awaitable[Sequence[Item]], act: Callable[[Item], Awaitable[None]]
) -> list[Exception]:
    """``act`` on everything that was found; what went wrong keeps none of the others."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(item: Item) -> None:
        async with turns:
            await act(item)

    [items] = await asyncio.gather(found, return_exceptions=True)
    if isinstance(items, Exception):
        return [items]
    if isinstance(items, BaseException):
        raise items
    results = await asyncio.gather(*map(one, items), return_exceptions=True)
    failed = [
        (item, result)
        for item, result in zip(items, results, strict=True)
        if isinstance(result, Exception)
    ]
    for item, error in failed:
        log.warning("reaper_item_failed", item=str(item), reason=repr(error))
    return [error for _, error in failed]
