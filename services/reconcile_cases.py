"""Cases that a reconciliation opens: one for each difference, however often it is seen."""

from __future__ import annotations

from uuid import UUID

from domain.case import CaseKind
from domain.money import Money, format_money
from domain.payment import ProviderPayment, ProviderRefund
from domain.reconcile import Booked, BookedRefund, Difference
from services.case import unknown_payment_key
from services.ports import Transaction

WORDS = {
    Difference.MISSING: "cannot be recorded here",
    Difference.BEHIND: "is further there than it can be brought here",
    Difference.UNDECIDED: "was captured and nobody has decided what becomes of it",
    Difference.REFUNDS: "gave back another sum there than here",
    Difference.CURRENCY: "is in another currency there than here",
    Difference.CAPTURED: "took less there than here",
    Difference.LEDGER: "is told differently by the ledger and by its own row here",
}


async def unknown_payment(tx: Transaction, provider: str, payment: ProviderPayment) -> None:
    """The same case as an unknown webhook's, where both name the session."""
    known_by = payment.session_id or payment.reference
    booking_id = await _booking_of(tx, payment.booking_reference)
    tx.cases.open(
        CaseKind.UNKNOWN_PAYMENT,
        dedupe=unknown_payment_key(provider, known_by, is_taken=payment.captured > 0),
        summary=f"{provider} lists payment {payment.reference[:200]} of"
        f" {format_money(Money(payment.captured, payment.amount.currency))}, {payment.status},"
        " which belongs to no pay page of ours.",
        booking_id=booking_id,
    )


async def payment_not_there(tx: Transaction, provider: str, ours: Booked) -> None:
    await _open(
        tx,
        CaseKind.DIFFERENCE,
        ours,
        dedupe=f"difference:not_there:{ours.id}",
        summary=f"We have payment {ours.reference[:200]} of"
        f" {format_money(Money(ours.captured, ours.currency))}; {provider} knows no such payment.",
    )


async def not_compared(tx: Transaction, provider: str, reference: str, ours: Booked | None) -> None:
    await _open(
        tx,
        CaseKind.DIFFERENCE,
        ours,
        dedupe=f"difference:not_compared:{provider}:{reference[:200]}",
        summary=f"{provider} payment {reference[:200]} could not be compared with our books, twice"
        " in one run: look at it there. The log says what was wrong.",
    )


async def difference(
    tx: Transaction,
    provider: str,
    theirs: ProviderPayment,
    ours: Booked | None,
    what: Difference,
) -> None:
    """Named by the provider's sums: the same payment differing otherwise is another case."""
    currency = theirs.amount.currency
    told = (
        f"There: {format_money(Money(theirs.captured, currency))} captured,"
        f" {format_money(Money(theirs.refunded, currency))} refunded."
    )
    if ours is not None:
        told += (
            f" Here: {format_money(Money(ours.captured, ours.currency))} captured,"
            f" {format_money(Money(ours.settled, ours.currency))} refunded."
        )
    known_by = f"{theirs.reference[:200]}:{theirs.captured}:{theirs.refunded}"
    await _open(
        tx,
        CaseKind.DIFFERENCE,
        ours,
        dedupe=f"difference:{what}:{provider}:{known_by}",
        summary=f"{provider} payment {theirs.reference[:200]} {WORDS[what]}. {told}",
    )


async def unknown_refund(
    tx: Transaction, provider: str, ours: Booked, refund: ProviderRefund
) -> None:
    """Somebody gave money back by hand, or by a key that we do not know."""
    await _open(
        tx,
        CaseKind.UNKNOWN_REFUND,
        ours,
        dedupe=f"unknown_refund:{provider}:{refund.reference[:200]}",
        summary=f"{provider} has refund {refund.reference[:200]} of {_amount(refund)} out of"
        f" payment {ours.reference[:200]}, {refund.status}, which we never asked for.",
    )


async def unknown_refund_failed(
    tx: Transaction, provider: str, ours: Booked, refund: ProviderRefund
) -> None:
    """The buyer is without money that a person had sent, and may have no other way to get it."""
    await _open(
        tx,
        CaseKind.UNKNOWN_REFUND,
        ours,
        dedupe=f"unknown_refund:{provider}:{refund.reference[:200]}:failed",
        summary=f"{provider} says that refund {refund.reference[:200]} of {_amount(refund)} out of"
        f" payment {ours.reference[:200]}, which we never asked for, has failed: the buyer does not"
        " have that money. It counts as left again, so a refund may take it; where none will, as"
        " when the booking is over, send it again.",
    )


async def refund_not_there(tx: Transaction, provider: str, ours: Booked, row: BookedRefund) -> None:
    await _open(
        tx,
        CaseKind.DIFFERENCE,
        ours,
        dedupe=f"difference:refund:{row.id}",
        summary=f"We hold refund {row.reference} of {format_money(Money(row.amount, row.currency))}"
        f", {row.status}; {provider} has no such refund.",
        refund_id=row.id,
    )


async def refund_overdue(tx: Transaction, row: BookedRefund) -> None:
    await tx.bookings.lock(row.booking_id)
    heard = "accepted it long ago and has not settled it" if row.reference else "did not say"
    tx.cases.open(
        CaseKind.REFUND_OVERDUE,
        dedupe=f"refund_overdue:{row.id}",
        summary=f"What becomes of a refund of {format_money(Money(row.amount, row.currency))} is"
        f" not known: the provider {heard}. It is asked on, under the same key.",
        booking_id=row.booking_id,
        provider_payment_id=row.provider_payment_id,
        refund_id=row.id,
    )


async def _open(
    tx: Transaction,
    kind: CaseKind,
    ours: Booked | None,
    *,
    dedupe: str,
    summary: str,
    refund_id: UUID | None = None,
) -> None:
    """A case about our payment, if it is one, under its booking's lock."""
    if ours is not None:
        await tx.bookings.lock(ours.booking_id)
    tx.cases.open(
        kind,
        dedupe=dedupe,
        summary=summary,
        booking_id=ours.booking_id if ours else None,
        provider_payment_id=ours.id if ours else None,
        refund_id=refund_id,
    )


def _amount(refund: ProviderRefund) -> str:
    return format_money(refund.amount) if refund.amount else "an unknown sum"


async def _booking_of(tx: Transaction, reference: str) -> UUID | None:
    """The booking that the payment names, if it is one of ours; locked."""
    try:
        booking = await tx.bookings.lock(UUID(reference))
    except ValueError:
        return None
    return booking.id if booking else None
