"""Money: pay pages opened, facts recorded, verdicts given, refunds asked for.

Recording a payment never fails because confirming fails: a fact is written in a transaction of
its own, and the booking's workflow is only told to look.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from domain import ids, ledger
from domain.booking import Booking, BookingState, checkout_expiry
from domain.errors import Conflict, Gone, NotFound
from domain.events import Event, EventType
from domain.money import Money
from domain.payment import ProviderPayment, ProviderPaymentStatus, Verdict
from domain.payment_policy import Step, capture_fact, decide
from domain.steps import ConfirmRequest, StepOutcome
from services import case
from services.ports import Attempt, Receipt, Transaction


@dataclass(frozen=True, slots=True)
class CheckoutPlan:
    """What checkout has to do next: ``attempt`` is the page to open or to answer with.

    ``to_close`` are earlier pages; each must be closed at its provider before a new one opens.
    """

    attempt: Attempt | None
    to_close: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a provider's fact led to: money that may confirm, or money for its late-payment saga.

    ``refunds``: its refund is decided, or its booking has expired and the saga decides.
    """

    booking_id: UUID
    confirms: UUID | None = None
    refunds: UUID | None = None


async def plan_checkout(
    tx: Transaction,
    booking_id: UUID,
    *,
    user_id: UUID,
    provider: str,
    return_url: str,
    request_id: str | None,
) -> CheckoutPlan:
    """Record the attempt and make the claim non-lapsing, before the provider hears of it.

    Raises:
        NotFound: no such booking of this user.
        Gone: the hold has run out.
        Conflict: ``nothing_to_pay`` or ``invalid_state``.
    """
    booking = await tx.bookings.lock(booking_id)
    if booking is None or booking.user_id != user_id:
        raise NotFound("There is no such booking.")
    _require_payable(booking)
    attempts = await tx.payments.attempts(booking_id)
    for current in attempts:
        if current.is_open and current.provider == provider:
            return CheckoutPlan(current)
    if still_open := tuple(attempt for attempt in attempts if attempt.session_open):
        return CheckoutPlan(None, still_open)
    number = len(attempts) + 1
    return CheckoutPlan(_start_attempt(tx, booking, number, provider, return_url, request_id))


async def record_payment(
    tx: Transaction, attempt: Attempt, payment: ProviderPayment, *, request_id: str | None = None
) -> Recorded:
    """Write down what the provider says of one payment, and judge money that was captured.

    The same facts in any order and number leave the same rows.
    """
    booking = await tx.bookings.lock(attempt.booking_id)
    if booking is None:
        raise LookupError(f"booking {attempt.booking_id} has no row")
    receipt, is_new = await tx.payments.record_receipt(attempt, attempt.provider, payment)
    if receipt.newly_captured > 0:
        new = Money(receipt.newly_captured, receipt.paid.currency)
        subject = _subject(booking, receipt)
        tx.ledger.post(ledger.captured(subject, new, total=receipt.paid.amount))
    if payment.status is ProviderPaymentStatus.CAPTURED:
        # Decided money that changes again is being refunded; it was verified before.
        if is_new and receipt.verdict is None:
            await tx.payments.raise_status(attempt.id, "captured")
            booking = _note(tx, booking, EventType.PAYMENT_VERIFIED, receipt, request_id)
        return await _judge(tx, booking, receipt, request_id)
    if is_new and payment.status is ProviderPaymentStatus.FAILED:
        if await tx.payments.raise_status(attempt.id, "failed"):
            _note(tx, booking, EventType.PAYMENT_FAILED, receipt, request_id)
    elif is_new and payment.status is ProviderPaymentStatus.PROCESSING:
        await tx.payments.raise_status(attempt.id, "processing")
    return Recorded(booking.id)


async def confirm(tx: Transaction, request: ConfirmRequest) -> StepOutcome:
    """Confirm on verified money of the exact amount and currency, or on a total of 0.

    Whoever asks: without such a payment row nothing changes. Money that cannot confirm any more
    is sent back by the verdict it gets here.
    """
    booking = await tx.bookings.lock(UUID(request.booking_id))
    if booking is None:
        raise LookupError(f"booking {request.booking_id} has no row")
    if booking.state is BookingState.CONFIRMED:
        return StepOutcome(booking.state)
    if request.provider_payment_id is None:
        if booking.total.amount == 0 and booking.state is BookingState.HELD:
            return confirm_by(tx, booking, None, request.request_id)
        return StepOutcome(booking.state, seconds_left=max(0.0, booking.seconds_left))
    receipt = await tx.payments.receipt(UUID(request.provider_payment_id))
    if receipt is None or receipt.booking_id != booking.id or receipt.status != "captured":
        return StepOutcome(booking.state, seconds_left=max(0.0, booking.seconds_left))
    recorded = await _judge(tx, booking, receipt, request.request_id)
    if recorded.confirms is None:
        return StepOutcome(booking.state, seconds_left=max(0.0, booking.seconds_left))
    return confirm_by(tx, booking, receipt, request.request_id)


async def judge_again(tx: Transaction, receipt_id: UUID) -> Recorded:
    """Look once more at captured money that nobody has decided about.

    Raises:
        LookupError: there is no such payment.
    """
    known = await tx.payments.receipt(receipt_id)
    booking = await tx.bookings.lock(known.booking_id) if known else None
    # Read again under the booking's lock, which guards every verdict on its payments.
    receipt = await tx.payments.receipt(receipt_id)
    if booking is None or receipt is None:
        raise LookupError(f"provider payment {receipt_id} has no row")
    return await _judge(tx, booking, receipt, None)


async def settle_refund(
    tx: Transaction, receipt_id: UUID, *, status: str, reference: str, request_id: str | None
) -> None:
    """Write how a refund ended; a repeat of the same end changes nothing."""
    receipt = await tx.payments.receipt(receipt_id)
    if receipt is None:
        raise LookupError(f"provider payment {receipt_id} has no row")
    booking = await tx.bookings.lock(receipt.booking_id)
    refund = await tx.payments.refund_of(receipt_id)
    if booking is None or refund is None:
        return
    if not await tx.payments.settle_refund(refund.id, status=status, reference=reference):
        return
    if status == "failed":
        case.refund_failed(
            tx,
            booking_id=booking.id,
            provider_payment_id=receipt.id,
            refund_id=refund.id,
            provider=refund.provider,
            amount=refund.amount,
        )
    if status != "succeeded":
        return
    subject = _subject(booking, receipt)
    tx.ledger.post(ledger.refund_settled(subject, refund.id, refund.amount))
    if not await _is_confirming_attempt(tx, booking, receipt):
        tx.payments.set_status(receipt.payment_id, "refunded")
    settled = (
        EventType.LATE_PAYMENT_REFUNDED
        if receipt.verdict is Verdict.LATE
        else EventType.REFUND_SETTLED
    )
    payload = {"refund_id": str(refund.id), "amount": refund.amount.amount}
    tx.bookings.record(booking, [Event(settled, payload)], actor="system", request_id=request_id)


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


async def _judge(
    tx: Transaction, booking: Booking, receipt: Receipt, request_id: str | None
) -> Recorded:
    """Give the verdict on captured money; one that sends it back is written at once."""
    if receipt.verdict is Verdict.CONFIRMS:
        return Recorded(booking.id)
    if receipt.verdict is not None:
        return Recorded(booking.id, refunds=receipt.id)
    fact = capture_fact(
        booking.state,
        expected=booking.total,
        paid=receipt.paid,
        has_confirming=booking.provider_payment_id is not None,
    )
    decision = decide(booking.state, fact, seats_free=False)
    if decision.verdict is Verdict.LATE:
        # Whether its seats can be had again takes more locks than this one, in another order:
        # ``services/late_payment.py`` decides that.
        return Recorded(booking.id, refunds=receipt.id)
    if decision.step is Step.CONFIRM:
        return Recorded(booking.id, confirms=receipt.id)
    if decision.step is not Step.SEND_BACK:
        return Recorded(booking.id)
    assert decision.verdict is not None, "money that goes back has its reason"
    await send_back(tx, booking, receipt, decision.verdict, request_id)
    return Recorded(booking.id, refunds=receipt.id)


async def send_back(
    tx: Transaction, booking: Booking, receipt: Receipt, verdict: Verdict, request_id: str | None
) -> None:
    """Decide under the booking's lock that all of this money goes back; its saga sends it."""
    tx.payments.decide(receipt.id, verdict)
    refund = await tx.payments.add_refund(
        receipt,
        refund_id=ids.refund_id(receipt.id, verdict),
        key=f"refund:{receipt.id}:{verdict}",
    )
    if verdict is Verdict.MISMATCH:
        case.wrong_amount(tx, booking, receipt, refund)
    subject = _subject(booking, receipt)
    tx.ledger.post(ledger.refund_requested(subject, refund.id, refund.amount))
    if not await _is_confirming_attempt(tx, booking, receipt):
        tx.payments.set_status(receipt.payment_id, "refund_pending")
    tx.outbox.queue(
        booking_id=booking.id,
        user_id=booking.user_id,
        template="refund",
        revision=await tx.payments.count_refunds(booking.id),
    )
    payload = {
        "refund_id": str(refund.id),
        "provider_payment_id": str(receipt.id),
        "amount": refund.amount.amount,
        "currency": refund.amount.currency,
        "reason": verdict,
    }
    tx.bookings.record(
        booking,
        [
            Event(EventType.REFUND_REQUESTED, payload),
            Event(EventType.NOTIFICATION_QUEUED, {"template": "refund"}),
        ],
        actor="system",
        request_id=request_id,
    )


async def _is_confirming_attempt(tx: Transaction, booking: Booking, receipt: Receipt) -> bool:
    """A page paid twice stays ``captured`` for the payment that confirmed the booking."""
    if booking.provider_payment_id is None:
        return False
    confirming = await tx.payments.receipt(booking.provider_payment_id)
    return confirming is not None and confirming.payment_id == receipt.payment_id


def confirm_by(
    tx: Transaction, booking: Booking, receipt: Receipt | None, request_id: str | None
) -> StepOutcome:
    """Sell the booking's claims for this money (None: it costs nothing), under its lock."""
    tx.claims.sell(booking.id, count=booking.seat_count)
    if receipt is not None:
        tx.payments.decide(receipt.id, Verdict.CONFIRMS)
        tx.ledger.post(ledger.confirmed(_subject(booking, receipt), receipt.paid))
    tx.outbox.queue(booking_id=booking.id, user_id=booking.user_id, template="confirmation")
    paid_by = str(receipt.id) if receipt else None
    booking = tx.bookings.record(
        booking,
        [
            Event(EventType.BOOKING_CONFIRMED, {"provider_payment_id": paid_by}),
            Event(EventType.NOTIFICATION_QUEUED, {"template": "confirmation"}),
        ],
        actor="system",
        request_id=request_id,
        state=BookingState.CONFIRMED,
        provider_payment_id=receipt.id if receipt else None,
    )
    return StepOutcome(booking.state)


def _subject(booking: Booking, receipt: Receipt) -> ledger.Subject:
    return ledger.Subject(booking.id, booking.show_id, receipt.provider, receipt.id)


def _note(
    tx: Transaction, booking: Booking, what: EventType, receipt: Receipt, request_id: str | None
) -> Booking:
    payload = {
        "payment_id": str(receipt.payment_id),
        "provider_payment_id": str(receipt.id),
        "reference": receipt.reference,
        "amount": receipt.paid.amount,
        "currency": receipt.paid.currency,
    }
    return tx.bookings.record(
        booking, [Event(what, payload)], actor=f"provider:{receipt.provider}", request_id=request_id
    )
