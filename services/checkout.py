"""A pay page is opened: the attempt is on record before any provider hears of it."""

from __future__ import annotations

from uuid import UUID

from domain import ids
from domain.booking import Booking, BookingState, checkout_expiry
from domain.errors import Conflict, Gone
from domain.events import Event, EventType
from domain.payment_policy import PaymentMode
from services.owner import require_seen
from services.payment_rows import Attempt
from services.ports import Transaction


async def plan_checkout(
    tx: Transaction,
    booking_id: UUID,
    *,
    user_id: UUID,
    provider: str,
    return_url: str,
    request_id: str | None,
    mode: PaymentMode = PaymentMode.CAPTURE,
) -> Attempt | None:
    """Record the attempt and make the claim non-lapsing, before the provider hears of it.

    Returns:
        The page to open or to answer with. None while an earlier page may still take money: it
        must be closed at its provider before a new one opens.

    Raises:
        NotFound, StillPending: as ``services.owner.require_seen``.
        Gone: the hold has run out.
        Conflict: ``nothing_to_pay`` or ``invalid_state``.
    """
    locked = tx.bookings.lock_soon(booking_id)
    attempts = await tx.payments.attempts(booking_id)
    booking = await require_seen(tx, booking_id, locked.value, user_id)
    _require_payable(booking)
    for current in attempts:
        if current.is_open and current.provider == provider:
            return current
    # Also while its process has not heard: a second page could only take money twice.
    if any(attempt.status in ("authorised", "captured") for attempt in attempts):
        raise Conflict("This booking is paid; confirm it.", code="nothing_to_pay")
    if any(attempt.session_open for attempt in attempts):
        return None
    number = len(attempts) + 1
    return _start_attempt(tx, booking, number, provider, return_url, request_id, mode)


def _require_payable(booking: Booking) -> None:
    if booking.state in (BookingState.EXPIRED, BookingState.EXPIRING):
        raise Gone("The hold has run out; reserve again.")
    if booking.state is not BookingState.HELD:
        raise Conflict(f"The booking is {booking.state}; there is nothing to pay.")
    if booking.total.amount == 0:
        raise Conflict("This booking costs nothing; confirm it.", code="nothing_to_pay")
    if booking.has_lapsed:
        raise Gone("The hold has run out; reserve again.")


def _start_attempt(
    tx: Transaction,
    booking: Booking,
    number: int,
    provider: str,
    return_url: str,
    request_id: str | None,
    mode: PaymentMode,
) -> Attempt:
    # Only the first page stretches the hold, so that paying cannot be a way to hold for ever.
    expires_at = checkout_expiry(booking) if booking.lapses else booking.hold_expires_at
    attempt = Attempt(
        id=ids.payment_id(booking.id, number),
        booking_id=booking.id,
        attempt=number,
        provider=provider,
        session_id=None,
        status="open",
        amount=booking.total,
        checkout_url=None,
        return_url=return_url,
        expires_at=expires_at,
        session_open=True,
        mode=mode,
    )
    tx.payments.add_attempt(attempt)
    payload = {
        "payment_id": str(attempt.id),
        "provider": provider,
        "attempt": number,
        "amount": booking.total.amount,
        "currency": booking.total.currency,
        "hold_expires_at": expires_at.isoformat(),
    }
    tx.bookings.record(
        booking,
        [Event(EventType.PAYMENT_STARTED, payload)],
        actor=str(booking.user_id),
        request_id=request_id,
        lapses=False,
        hold_expires_at=expires_at,
    )
    return attempt
