"""A provider's list against our books: what is behind is recorded, what cannot be is a case.

By itself it makes up for the loss of every webhook and every poll: what it finds goes the way
that a webhook goes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

import structlog

from domain.errors import NotFound, SeatholdError, Unavailable
from domain.payment import ProviderPayment
from domain.reconcile import Booked, Difference, compare, since_when
from services import reconcile_cases as cases
from services.gateway import PaymentGateway
from services.payment_news import PaymentNews
from services.ports import UnitOfWork
from services.process import ProcessAway, ProcessUnknown
from services.reconcile_books import Checkpoint, ProviderBooks, Tally
from services.reconcile_refunds import RefundRepair

log = structlog.get_logger(__name__)
# So many payments in a row without an answer: the provider is away, and not these payments bad.
SILENT_IN_A_ROW = 3


class Reconciler:
    """``dry_run`` compares and tells, and changes nothing: what it calls repaired could be.

    ``bad_row`` are the database's errors that are about one payment's rows, not about it all.
    """

    def __init__(
        self,
        begin: UnitOfWork,
        gateways: Mapping[str, PaymentGateway],
        news: PaymentNews,
        books: ProviderBooks,
        repair: RefundRepair,
        *,
        dry_run: bool = False,
        bad_row: tuple[type[Exception], ...] = (),
    ) -> None:
        self._bad: tuple[type[Exception], ...] = (SeatholdError, LookupError, ValueError, *bad_row)
        self._begin = begin
        self._gateways = gateways
        self._news = news
        self._books = books
        self._repair = repair
        self._dry_run = dry_run

    async def start(self, provider: str, since: datetime | None = None) -> Checkpoint:
        """A new run: from ``since`` on, or from where the last one ended."""
        now, watermark = await self._books.window(provider)
        return Checkpoint((since or since_when(now, watermark)).isoformat(), now.isoformat())

    async def run(
        self, provider: str, at: Checkpoint, progress: Callable[[Checkpoint], object]
    ) -> Tally:
        """Compare everything that changed since; ``progress`` hears after each payment.

        A payment that cannot be compared keeps no other from it: it is tried once more at the end,
        and then it is a case.

        Raises:
            Unavailable: the provider did not answer; go on from the last checkpoint.
        """
        gateway, since = self._gateways[provider], datetime.fromisoformat(at.since)
        await self._overdue(provider, at.tally)
        while not at.listed:
            page = await gateway.list_payments(since, at.cursor)
            await self._compare_all(gateway, page.payments, at, progress)
            at.cursor, at.listed = page.next, page.next is None
            progress(at)
        await self._suspects(gateway, at, progress)
        await self._once_more(gateway, at)
        return at.tally

    async def finish(self, provider: str, at: Checkpoint) -> None:
        """The run is over: the next one begins where this one did."""
        await self._books.finish(provider, datetime.fromisoformat(at.started), at.tally)

    async def _overdue(self, provider: str, tally: Tally) -> None:
        for refund in await self._books.overdue(provider):
            tally.note(f"refund {refund.id} has no outcome", repaired=False)
            if not self._dry_run:
                async with self._begin() as tx:
                    await cases.refund_overdue(tx, refund)

    async def _suspects(
        self, gateway: PaymentGateway, at: Checkpoint, progress: Callable[[Checkpoint], object]
    ) -> None:
        """What we have and the provider did not list: each is asked for by its id."""
        references = await self._books.suspects(gateway.name)
        ours = await self._books.booked(gateway.name, references)
        for reference, booked in ours.items():
            at.tally.compared += 1
            await self._alone(at, reference, self._suspect(gateway, booked, at.tally))
            progress(at)

    async def _suspect(self, gateway: PaymentGateway, booked: Booked, tally: Tally) -> None:
        try:
            theirs = await gateway.read_payment(booked.reference)
        except NotFound:
            tally.note(f"payment {booked.reference} is not at {gateway.name}", repaired=False)
            if not self._dry_run:
                async with self._begin() as tx:
                    await cases.payment_not_there(tx, gateway.name, booked)
        else:
            await self._compare(gateway, theirs, booked, tally)
        if not self._dry_run:
            await self._books.looked_at([booked])

    async def _once_more(self, gateway: PaymentGateway, at: Checkpoint) -> None:
        """What stood in the way of one payment may be over by now; if not, a person looks."""
        for reference in list(at.failed):
            at.failed.remove(reference)
            if await self._alone(at, reference, self._again(gateway, reference, at.tally)):
                continue
            at.tally.note(f"payment {reference} could not be compared", repaired=False)
            if not self._dry_run:
                ours = await self._books.booked(gateway.name, [reference])
                async with self._begin() as tx:
                    await cases.not_compared(tx, gateway.name, reference, ours.get(reference))

    async def _again(self, gateway: PaymentGateway, reference: str, tally: Tally) -> None:
        ours, theirs = await self._fresh(gateway, reference)
        await self._compare(gateway, theirs, ours, tally)
        if ours is not None and not self._dry_run:
            await self._books.looked_at([ours])

    async def _alone(self, at: Checkpoint, reference: str, work: Awaitable[None]) -> bool:
        """Whether the work on this payment could be done.

        Raises:
            Unavailable: nor could that on the ones before: the provider does not answer at all.
        """
        try:
            await work
        except self._bad as error:
            log.warning("payment_not_compared", reference=reference, exc_info=True)
            if reference not in at.failed:
                at.failed.append(reference)
            at.silent = at.silent + 1 if isinstance(error, Unavailable) else 0
            if at.silent >= SILENT_IN_A_ROW:
                raise
            return False
        at.silent = 0
        return True

    async def _compare_all(
        self,
        gateway: PaymentGateway,
        payments: Sequence[ProviderPayment],
        at: Checkpoint,
        progress: Callable[[Checkpoint], object],
    ) -> None:
        references = [payment.reference for payment in payments]
        ours = await self._books.booked(gateway.name, references)
        for theirs in payments:
            booked = ours.get(theirs.reference)
            at.tally.compared += 1
            work = self._compare(gateway, theirs, booked, at.tally)
            await self._alone(at, theirs.reference, work)
            progress(at)
        if not self._dry_run:
            done = [one for one in ours.values() if one.reference not in at.failed]
            await self._books.looked_at(done)

    async def _compare(
        self,
        gateway: PaymentGateway,
        theirs: ProviderPayment,
        ours: Booked | None,
        tally: Tally,
    ) -> None:
        if found := compare(theirs, ours):
            await self._mend(gateway, theirs, ours, found, tally)

    async def _mend(
        self,
        gateway: PaymentGateway,
        theirs: ProviderPayment,
        ours: Booked | None,
        found: tuple[Difference, ...],
        tally: Tally,
    ) -> None:
        """Record what is news, settle refunds, and open a case for whatever differs then."""
        if self._dry_run:
            ours_it_is = ours is not None or await self._is_ours(gateway, theirs)
            for difference in found:
                what = f"{difference} of payment {theirs.reference}"
                tally.note(what, repaired=difference.is_news and ours_it_is)
            return
        # The booking is told, and decides in its own time; the reaper sees that it does.
        explained = {Difference.UNDECIDED}
        if any(difference.is_news for difference in found):
            if not await self._record_again(gateway, theirs, ours):
                async with self._begin() as tx:
                    await cases.unknown_payment(tx, gateway.name, theirs)
                tally.note(f"payment {theirs.reference} belongs to no booking", repaired=False)
                return
            ours, theirs = await self._fresh(gateway, theirs.reference)
        if ours is not None and Difference.REFUNDS in compare(theirs, ours):
            if await self._repair.refunds(gateway, theirs, ours, tally):
                explained.add(Difference.REFUNDS)
            ours, theirs = await self._fresh(gateway, theirs.reference)
        still = set(compare(theirs, ours))
        for difference in found:
            if difference not in still | explained or difference is Difference.UNDECIDED:
                tally.note(f"{difference} of payment {theirs.reference}", repaired=True)
        for difference in sorted(still - explained):
            tally.note(f"{difference} of payment {theirs.reference}", repaired=False)
            async with self._begin() as tx:
                await cases.difference(tx, gateway.name, theirs, ours, difference)

    async def _is_ours(self, gateway: PaymentGateway, theirs: ProviderPayment) -> bool:
        session_id = theirs.session_id or (await gateway.read_payment(theirs.reference)).session_id
        async with self._begin.alone() as tx:
            return await tx.payments.attempt_by_session(gateway.name, session_id) is not None

    async def _fresh(
        self, gateway: PaymentGateway, reference: str
    ) -> tuple[Booked | None, ProviderPayment]:
        """Both sides as they are now: the list is older than what was done since."""
        theirs = await gateway.read_payment(reference)
        ours = await self._books.booked(gateway.name, [reference])
        return ours.get(reference), theirs

    async def _record_again(
        self, gateway: PaymentGateway, theirs: ProviderPayment, ours: Booked | None
    ) -> bool:
        """Do what a webhook about this payment does; False when it is none of ours."""
        session_id = theirs.session_id
        if not session_id:
            session_id = (await gateway.read_payment(theirs.reference)).session_id
        try:
            known = bool(session_id) and bool(
                await self._news.by_session(gateway.name, session_id, request_id=None)
            )
            if ours is not None and ours.captured > 0 and not ours.is_decided:
                await self._news.tell_again(ours.id)
        except (ProcessAway, ProcessUnknown):
            # It is recorded; the reaper tells the process once Temporal is back.
            return True
        except NotFound:
            return ours is not None
        return known or ours is not None
