"""What every change of a provider's payment does with its booking's stream and the ledger."""

from __future__ import annotations

from domain import ledger
from domain.booking import Booking
from domain.events import Event, EventType
from services.payment_rows import Receipt
from services.ports import Transaction


def subject(booking: Booking, receipt: Receipt) -> ledger.Subject:
    return ledger.Subject(booking.id, booking.show_id, receipt.provider, receipt.id)


def note(
    tx: Transaction,
    booking: Booking,
    what: EventType,
    receipt: Receipt,
    request_id: str | None,
    *more: Event,
) -> Booking:
    """Tell in the booking's stream what the provider said of the payment, and what follows."""
    payload = {
        "payment_id": str(receipt.payment_id),
        "provider_payment_id": str(receipt.id),
        "reference": receipt.reference,
        "amount": receipt.sum.amount,
        "currency": receipt.sum.currency,
    }
    return tx.bookings.record(
        booking,
        [Event(what, payload), *more],
        actor=f"provider:{receipt.provider}",
        request_id=request_id,
    )


async def is_confirming_attempt(tx: Transaction, booking: Booking, receipt: Receipt) -> bool:
    """A page paid twice shows the payment that confirms the booking, or is to confirm it."""
    paid_by = booking.provider_payment_id or booking.confirming
    if paid_by is None:
        return False
    confirming = await tx.payments.receipt(paid_by)
    return confirming is not None and confirming.payment_id == receipt.payment_id
