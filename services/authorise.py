"""Money that is promised first: the seats are made final, then it is taken, or it is let go."""

from __future__ import annotations

from uuid import UUID

from domain import ledger
from domain.booking import Booking, BookingState, CloseReason
from domain.events import Event, EventType
from domain.money import Money
from domain.payment import ProviderPaymentStatus, Verdict
from domain.payment_status import PaymentStatus
from domain.steps import StepOutcome
from services import case
from services.notification import tell
from services.payment_rows import Attempt, Receipt
from services.ports import Transaction
from services.receipt import is_confirming_attempt, note, subject


def post(tx: Transaction, booking: Booking, receipt: Receipt) -> None:
    """Post what recording the payment just now changed about its promise."""
    about, currency = subject(booking, receipt), receipt.promised.currency
    if receipt.newly_promised > 0:
        tx.ledger.post(ledger.authorised(about, Money(receipt.newly_promised, currency)))
    if receipt.promise_ended > 0:
        tx.ledger.post(ledger.released(about, Money(receipt.promise_ended, currency)))


def promised(
    tx: Transaction, booking: Booking, attempt: Attempt, receipt: Receipt, request_id: str | None
) -> Booking:
    """The provider says for the first time that the buyer's bank has promised the money."""
    tx.payments.raise_status(attempt.id, "authorised")
    return note(tx, booking, EventType.PAYMENT_AUTHORISED, receipt, request_id)


async def voided(
    tx: Transaction, booking: Booking, receipt: Receipt, request_id: str | None
) -> None:
    """The promise ended and nothing was taken."""
    if receipt.verdict is not Verdict.REFUSED:
        await _close_attempt(tx, booking, receipt)
    note(tx, booking, EventType.PAYMENT_VOIDED, receipt, request_id)


def begin_capture(
    tx: Transaction, booking: Booking, receipt: Receipt, request_id: str | None
) -> StepOutcome:
    """Make the seats final for this payment: from now on neither time nor a wish frees them.

    Clients go on seeing ``held``. It ends by the money's capture, or by :func:`abandon`.
    """
    if booking.confirming != receipt.id:
        booking = tx.bookings.record(
            booking,
            [Event(EventType.BOOKING_CONFIRMING, {"provider_payment_id": str(receipt.id)})],
            actor="system",
            request_id=request_id,
            state=BookingState.HELD,
            confirming_payment_id=receipt.id,
        )
    return standing(booking)


async def abandon(
    tx: Transaction, booking_id: UUID, receipt_id: UUID, *, request_id: str | None
) -> StepOutcome:
    """Undo :func:`begin_capture`: the money is let go, and the booking ends as if unpaid.

    It changes nothing for a booking that has gone on, or whose money was taken after all.
    """
    booking = await tx.bookings.lock(booking_id)
    receipt = await tx.payments.receipt(receipt_id)
    if booking is None or receipt is None:
        raise LookupError(f"booking {booking_id} or its payment {receipt_id} has no row")
    was_taken = receipt.verdict is None and receipt.status == ProviderPaymentStatus.CAPTURED
    if booking.confirming != receipt.id or was_taken:
        return standing(booking)
    if receipt.verdict is None:
        tx.payments.decide(receipt.id, Verdict.REFUSED)
        tx.payments.raise_status(receipt.payment_id, PaymentStatus.REFUSED)
    booking = note(tx, booking, EventType.CAPTURE_REFUSED, receipt, request_id)
    why = CloseReason.LAPSED
    booking = tx.bookings.record(
        booking,
        [Event(EventType.BOOKING_EXPIRING, {"why": why, "note": "the money could not be taken"})],
        actor="system",
        request_id=request_id,
        state=BookingState.EXPIRING,
        close_reason=why,
        closing_since=booking.closing_since or booking.now,
    )
    return standing(booking)


async def let_go(
    tx: Transaction, booking: Booking, receipt: Receipt, verdict: Verdict, request_id: str | None
) -> None:
    """Decide that a promise is not wanted; its own process voids it at the provider."""
    tx.payments.decide(receipt.id, verdict)
    if verdict is Verdict.MISMATCH:
        case.wrong_amount_promised(tx, booking, receipt)
    await _close_attempt(tx, booking, receipt)
    revision = await tx.payments.count_voids(booking.id)
    payload = {
        "provider_payment_id": str(receipt.id),
        "amount": receipt.promised.amount,
        "currency": receipt.promised.currency,
        "reason": verdict,
    }
    tx.bookings.record(
        booking,
        [
            Event(EventType.VOID_REQUESTED, payload),
            tell(tx, booking, "void", revision=revision),
        ],
        actor="system",
        request_id=request_id,
    )


def standing(booking: Booking) -> StepOutcome:
    """Where the booking stands, and what is to be taken for it."""
    return StepOutcome(
        booking.state,
        seconds_left=max(0.0, booking.seconds_left),
        capture=str(booking.confirming) if booking.confirming else None,
    )


async def _close_attempt(tx: Transaction, booking: Booking, receipt: Receipt) -> None:
    if not await is_confirming_attempt(tx, booking, receipt):
        tx.payments.raise_status(receipt.payment_id, PaymentStatus.VOIDED)
