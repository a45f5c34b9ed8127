"""The steps of a cancelled show: some bookings at a time, each in a transaction of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import structlog
from temporalio import activity

from activities.edge import edge
from contracts.show_cancel import ShowCancelSteps
from domain.errors import Conflict
from domain.show_cancel import BatchDone, Left, PauseStep, Probe, ShowCancelResult, ShowStep
from domain.steps import CancelRequest
from services import closing, show_cancel
from services.gateway import PaymentGateway
from services.ports import UnitOfWork
from services.process import BookingProcess, ProcessAway, ProcessOver, ProcessUnknown
from services.show_cancel import NOTE, ShowProcess
from services.work import WorkQueue

log = structlog.get_logger(__name__)
# Each of them costs its time-out, and a step has a minute: the next step goes on behind them.
MOST_UNTOLD = 4


class ShowCancelActivities(ShowCancelSteps):
    """``gateways`` by provider name."""

    def __init__(
        self,
        unit_of_work: UnitOfWork,
        gateways: Mapping[str, PaymentGateway],
        bookings: BookingProcess,
        shows: ShowProcess,
        work: WorkQueue,
    ) -> None:
        self._begin = unit_of_work
        self._gateways = gateways
        self._bookings = bookings
        self._shows = shows
        self._work = work

    @property
    def steps(self) -> list[Callable[..., Any]]:
        """What a worker registers."""
        return [
            self.end_holds,
            self.start_refunds,
            self.probe_balance,
            self.read_left,
            self.note_pause,
            self.finish_show,
        ]

    @activity.defn
    async def end_holds(self, step: ShowStep) -> BatchDone:
        async with edge("", step.request_id):
            async with self._begin.alone() as tx:
                found = await tx.shows.open_bookings(UUID(step.show_id), _after(step))
            batch = found[: step.most]
            told = untold = 0
            for booking_id in batch:
                if await self._end_hold(booking_id, step.request_id):
                    told += 1
                else:
                    untold += 1
                if untold == MOST_UNTOLD:
                    break
            log.info("show_holds_ended", show_id=step.show_id, count=told, untold=untold)
            seen = told + untold
            is_last = seen == len(batch) < step.most
            return BatchDone(told, 0, None if is_last else str(batch[seen - 1]))

    async def _end_hold(self, booking_id: UUID, request_id: str | None) -> bool:
        """The buyer's wish to cancel wins over everything, so money that came in goes back.

        False: its process may not have heard. The others do not wait; ``read_left`` has it still.
        """
        async with self._begin() as tx:
            if not await show_cancel.tell_holder(tx, booking_id, request_id=request_id):
                return True
        request = CancelRequest("operator:show-cancel", NOTE, request_id)
        try:
            await closing.cancel(self._begin, self._bookings, self._work, booking_id, request)
        except (Conflict, ProcessOver):
            # Confirmed or over meanwhile: the refunds, which come after, find it as it is.
            log.info("show_hold_was_over", booking_id=str(booking_id))
        except (ProcessAway, ProcessUnknown) as error:
            log.warning("show_hold_not_told", booking_id=str(booking_id), reason=str(error))
            return False
        return True

    @activity.defn
    async def start_refunds(self, step: ShowStep) -> BatchDone:
        show_id = UUID(step.show_id)
        async with edge("", step.request_id):
            async with self._begin.alone() as tx:
                if await tx.shows.short(show_id) is not None:
                    return BatchDone(0, 0, step.after, short=True)
                found = await tx.shows.refundable(show_id, _after(step))
            bookings = refunds = 0
            after: UUID | None = None
            for booking_id in found:
                if refunds >= step.most:
                    break
                refunds += await self._start_refund(booking_id, step.request_id)
                bookings, after = bookings + 1, booking_id
            log.info("show_refunds_started", show_id=step.show_id, count=refunds)
            failed = activity.info().attempt - 1
            return BatchDone(bookings, refunds, str(after) if after else None, failed_tries=failed)

    async def _start_refund(self, booking_id: UUID, request_id: str | None) -> int:
        async with self._begin() as tx:
            reserved = await show_cancel.refund_whole(tx, booking_id, request_id=request_id)
        if reserved is None:
            return 0
        number, parts = reserved
        try:
            await self._bookings.refund(booking_id, number, request_id)
        except (ProcessAway, ProcessUnknown):
            # It is on record, and the reaper starts it: the others need not wait for Temporal.
            log.warning("show_refund_left_to_reaper", booking_id=str(booking_id), number=number)
        return parts

    @activity.defn
    async def probe_balance(self, step: ShowStep) -> Probe:
        async with edge("", step.request_id):
            probe, sent = await show_cancel.probe(
                self._begin, self._gateways, UUID(step.show_id), request_id=step.request_id
            )
            if sent is not None:
                await self._shows.refund_again(sent.booking_id, sent.number, step.request_id)
            log.info("show_balance_probed", show_id=step.show_id, outcome=probe)
            return probe

    @activity.defn
    async def read_left(self, step: ShowStep) -> Left:
        async with edge("", step.request_id), self._begin.alone() as tx:
            return await tx.shows.left(UUID(step.show_id))

    @activity.defn
    async def note_pause(self, step: PauseStep) -> None:
        async with edge("", step.request_id), self._begin() as tx:
            await show_cancel.pause(tx, step)
        log.warning("show_cancel_pause", show_id=step.show_id, why=step.why)

    @activity.defn
    async def finish_show(self, step: ShowStep) -> ShowCancelResult:
        show_id = UUID(step.show_id)
        async with edge("", step.request_id):
            opened = await show_cancel.open_cases(self._begin, show_id)
            async with self._begin() as tx:
                report = await tx.shows.report(show_id)
                await tx.shows.finish(show_id, report)
            log.info("show_cancel_finished", show_id=step.show_id, cases=opened)
            return ShowCancelResult(report.as_json())


def _after(step: ShowStep) -> UUID | None:
    return UUID(step.after) if step.after else None
