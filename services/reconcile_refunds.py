"""The refunds of one payment, ours against the provider's, each brought to its end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from domain import ledger
from domain.errors import Conflict, NotFound
from domain.events import Event, EventType
from domain.ledger import Subject
from domain.money import Money
from domain.payment import ProviderPayment, ProviderRefund
from domain.reconcile import Booked, BookedRefund, is_under_way, listed, unasked
from services import case, payment, refund
from services import reconcile_cases as cases
from services.gateway import PaymentGateway
from services.notification import tell
from services.ports import Transaction, UnitOfWork
from services.process import BookingProcess, ProcessAway, ProcessUnknown
from services.reconcile_books import ProviderBooks, Tally


class RefundRepair:
    def __init__(self, begin: UnitOfWork, books: ProviderBooks, process: BookingProcess) -> None:
        self._begin = begin
        self._books = books
        self._process = process

    async def refunds(
        self, gateway: PaymentGateway, theirs: ProviderPayment, ours: Booked, tally: Tally
    ) -> bool:
        """Settle here what is settled there; what neither side can explain becomes a case.

        Whether such a case explains why the sums differ still, or what is under way does.

        Raises:
            Conflict: news of the payment came meanwhile; compare it again.
        """
        left_before = tally.left
        # What we know first: what comes after it may be in no list. Then theirs: whatever it
        # names was asked for by a row that is there when ours is read.
        known = (await self._books.booked(gateway.name, [ours.reference]))[ours.reference]
        told = await gateway.list_refunds(ours.reference)
        rows = await self._books.refunds(ours.id)
        for one in told:
            row = next((row for row in rows if row.is_told_by(one)), None)
            if row is None:
                await self._unknown(gateway, ours, one, tally)
            else:
                await self._bring_to_its_end(gateway.name, ours, row, one, tally)
        for row in rows:
            if row.reference is not None and row.status != "failed":
                await self._require_there(gateway, ours, row, told, tally)
        await self._count_unasked(gateway.name, known, told, tally)
        return tally.left > left_before or is_under_way(theirs.refunded, rows, told)

    async def _count_unasked(
        self, provider: str, known: Booked, told: Sequence[ProviderRefund], tally: Tally
    ) -> None:
        """What went back without our asking is what the list says, more or less than we knew."""
        rows = await self._books.refunds(known.id)
        now, sum_told = unasked(known.unasked, rows, told), listed(told)
        if now == known.unasked and sum_told >= known.told_refunded:
            return
        assert known.updated_at is not None, "it was read from a row"
        async with self._begin() as tx:
            await tx.bookings.lock(known.booking_id)
            if not await tx.payments.set_unasked(
                known.id, now, listed=sum_told, seen=known.updated_at
            ):
                raise Conflict("News of this payment came while its refunds were listed.")
            if now >= known.unasked:
                return
            for one in told:
                if one.status == "failed" and not any(row.is_told_by(one) for row in rows):
                    tally.note(f"refund {one.reference}, never asked for, failed", repaired=False)
                    await cases.unknown_refund_failed(tx, provider, known, one)

    async def _unknown(
        self, gateway: PaymentGateway, ours: Booked, told: ProviderRefund, tally: Tally
    ) -> None:
        if told.status == "failed":
            return
        tally.note(f"refund {told.reference} was never asked for", repaired=False)
        async with self._begin() as tx:
            await cases.unknown_refund(tx, gateway.name, ours, told)

    async def _bring_to_its_end(
        self, provider: str, ours: Booked, row: BookedRefund, told: ProviderRefund, tally: Tally
    ) -> None:
        if told.status == "succeeded" and row.status == "pending" and row.is_now(told):
            async with self._begin() as tx:
                await _settle(tx, ours, row, told)
            tally.note(f"refund {told.reference} settled", repaired=True)
            await self._tell(row)
        elif told.status == "failed" and row.status == "succeeded" and row.is_now(told):
            async with self._begin() as tx:
                await _came_back(tx, provider, ours, row)
            tally.note(f"refund {told.reference} came back", repaired=False)
        elif told.status == "succeeded" and not (row.status == "succeeded" and row.is_now(told)):
            # Here it has failed: another try may be on its way, so only a person can tell.
            tally.note(f"refund {told.reference} has failed here", repaired=False)
            async with self._begin() as tx:
                await cases.unknown_refund(tx, provider, ours, told)

    async def _require_there(
        self,
        gateway: PaymentGateway,
        ours: Booked,
        row: BookedRefund,
        told: Sequence[ProviderRefund],
        tally: Tally,
    ) -> None:
        """A refund that we hold and no list shows is asked for by its id."""
        if row.reference is None or any(one.reference == row.reference for one in told):
            return
        try:
            await gateway.read_refund(row.reference)
        except NotFound:
            tally.note(f"refund {row.reference} is not at {gateway.name}", repaired=False)
            async with self._begin() as tx:
                await cases.refund_not_there(tx, gateway.name, ours, row)

    async def _tell(self, row: BookedRefund) -> None:
        """Its workflow tells Redis of the seats, and ends."""
        if row.number is None:
            return
        with suppress(ProcessAway, ProcessUnknown):
            await self._process.refund(row.booking_id, row.number, None)


async def _settle(tx: Transaction, ours: Booked, row: BookedRefund, told: ProviderRefund) -> None:
    """What the refund's own workflow does when it hears of it."""
    if row.number is None:
        await payment.settle_refund(
            tx, ours.id, status="succeeded", reference=told.reference, request_id=None
        )
        return
    for part in await tx.refunds.parts(row.booking_id, row.number):
        if part.id == row.id:
            if part.reference is None:
                await refund.accept(
                    tx, row.booking_id, part, told.reference, is_found=True, request_id=None
                )
            await refund.record_end(tx, row.booking_id, part, "succeeded", request_id=None)


async def _came_back(tx: Transaction, provider: str, ours: Booked, row: BookedRefund) -> None:
    """The bank could not credit it after all: the money is due again, for a person to send."""
    booking = await tx.bookings.lock(row.booking_id)
    assert booking is not None, "its refund has a row"
    if not await tx.refunds.came_back(row.id):
        return
    amount = Money(row.amount, row.currency)
    subject = Subject(booking.id, booking.show_id, provider, ours.id)
    tx.ledger.post(ledger.refund_failed(subject, row.id, amount))
    case.refund_failed(
        tx,
        booking_id=booking.id,
        provider_payment_id=ours.id,
        refund_id=row.id,
        provider=provider,
        amount=amount,
    )
    told = {"refund_id": str(row.id), "amount": row.amount, "number": row.number, "accepted": True}
    # They were told before that it was sent.
    mail = tell(tx, booking, "refund_failed", revision=await tx.refunds.place(row.id))
    events = [Event(EventType.REFUND_FAILED, told), mail]
    tx.bookings.record(booking, events, actor=f"provider:{provider}", request_id=None)
