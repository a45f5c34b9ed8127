"""Money: facts recorded, verdicts given, refunds asked for.

Recording a payment never fails because confirming fails: a fact is written in a transaction of
its own, and the booking's workflow is only told to look.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from domain import ids, ledger
from domain.booking import Booking, BookingState
from domain.events import Event, EventType
from domain.money import Money
from domain.payment import ProviderPayment, ProviderPaymentStatus, Verdict
from domain.payment_policy import MoneyBack, Step, capture_fact, decide
from domain.steps import ConfirmRequest, StepOutcome
from services import authorise, case, dispute
from services.dispute import Freed
from services.notification import tell
from services.payment_rows import Attempt, Receipt
from services.ports import Transaction
from services.receipt import is_confirming_attempt, note, subject


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a provider's fact led to: money that may confirm, or money for its late-payment saga.

    ``refunds``: its refund is decided, or its booking has expired and the saga decides. ``freed``:
    seats that a lost dispute put back on sale.
    """

    booking_id: UUID
    confirms: UUID | None = None
    refunds: UUID | None = None
    freed: Freed | None = None


async def record_payment(
    tx: Transaction, attempt: Attempt, payment: ProviderPayment, *, request_id: str | None = None
) -> Recorded:
    """Write down what the provider says of one payment, and judge money taken or promised.

    The same facts in any order and number leave the same rows.
    """
    locked = tx.bookings.lock_soon(attempt.booking_id)
    receipt, is_new = await tx.payments.record_receipt(attempt, attempt.provider, payment)
    booking = locked.value
    if booking is None:
        raise LookupError(f"booking {attempt.booking_id} has no row")
    authorise.post(tx, booking, receipt)
    if receipt.newly_captured > 0:
        new = Money(receipt.newly_captured, receipt.paid.currency)
        about = subject(booking, receipt)
        tx.ledger.post(ledger.captured(about, new, total=receipt.paid.amount))
    if payment.fee > receipt.fee:
        if not is_new:
            tx.payments.raise_fee(receipt.id, payment.fee)
        more = Money(payment.fee - receipt.fee, receipt.paid.currency)
        tx.ledger.post(ledger.fee(subject(booking, receipt), more, key=str(payment.fee)))
    if not payment.disputes:
        return await _take(tx, booking, attempt, payment, receipt, is_new, request_id)
    booking, receipt = await dispute.note(
        tx, booking, receipt, payment.disputes, request_id=request_id
    )
    recorded = await _take(tx, booking, attempt, payment, receipt, is_new, request_id)
    freed = await dispute.settle(tx, booking.id, receipt.id, request_id=request_id)
    return replace(recorded, freed=freed)


async def _take(
    tx: Transaction,
    booking: Booking,
    attempt: Attempt,
    payment: ProviderPayment,
    receipt: Receipt,
    is_new: bool,
    request_id: str | None,
) -> Recorded:
    """What the payment's own status leads to; disputes are beside it."""
    # Even where an answer that it went back was read first.
    if receipt.paid.amount and receipt.verdict is None:
        tx.payments.raise_status(attempt.id, "captured")
    if payment.status is ProviderPaymentStatus.CAPTURED:
        # Decided money that changes again is being refunded; it was verified before.
        if is_new and receipt.verdict is None:
            booking = note(tx, booking, EventType.PAYMENT_VERIFIED, receipt, request_id)
        return await _judge(tx, booking, receipt, request_id)
    if receipt.is_promise:
        if is_new:
            booking = authorise.promised(tx, booking, attempt, receipt, request_id)
        return await _judge(tx, booking, receipt, request_id)
    if is_new:
        await _note_unpaid(tx, booking, attempt, receipt, payment.status, request_id)
    return Recorded(booking.id)


async def confirm(tx: Transaction, request: ConfirmRequest) -> StepOutcome:
    """Confirm on verified money of the exact amount and currency, or on a total of 0.

    Whoever asks: without such a payment row nothing changes. Money that cannot confirm any more
    is sent back by the verdict it gets here. Money that is only authorised makes the seats final
    and is named in the outcome: it has to be captured before this is asked again.
    """
    booking, receipt = await _lock_and_read(tx, UUID(request.booking_id), _payment_id(request))
    if booking.state is BookingState.CONFIRMED:
        return StepOutcome(booking.state)
    if request.provider_payment_id is None:
        if booking.total.amount == 0 and booking.state is BookingState.HELD:
            return confirm_by(tx, booking, None, request.request_id)
        return authorise.standing(booking)
    if receipt is None or receipt.booking_id != booking.id:
        return authorise.standing(booking)
    if receipt.status not in ("captured", "authorised"):
        return authorise.standing(booking)
    recorded = await _judge(tx, booking, receipt, request.request_id)
    if recorded.confirms is None:
        return authorise.standing(booking)
    if receipt.is_promise:
        return authorise.begin_capture(tx, booking, receipt, request.request_id)
    outcome = confirm_by(tx, booking, receipt, request.request_id)
    if receipt.disputed:
        await dispute.settle(tx, booking.id, receipt.id, request_id=request.request_id)
        disputed = await tx.bookings.lock(booking.id)
        assert disputed is not None, "it is locked"
        return StepOutcome(disputed.state)
    return outcome


async def _lock_and_read(
    tx: Transaction, booking_id: UUID, payment_id: UUID | None
) -> tuple[Booking, Receipt | None]:
    """The booking under its lock, which guards every verdict, and the payment as it stands then."""
    if payment_id is None:
        booking, receipt = await tx.bookings.lock(booking_id), None
    else:
        locked = tx.bookings.lock_soon(booking_id)
        receipt = await tx.payments.receipt(payment_id)
        booking = locked.value
    if booking is None:
        raise LookupError(f"booking {booking_id} has no row")
    return booking, receipt


def _payment_id(request: ConfirmRequest) -> UUID | None:
    """None also for what is no id at all: an operator may have typed the signal."""
    try:
        return UUID(request.provider_payment_id) if request.provider_payment_id else None
    except ValueError:
        return None


async def judge_again(tx: Transaction, receipt_id: UUID) -> Recorded:
    """Look once more at money, taken or promised, that nobody has decided or acted about.

    Raises:
        LookupError: there is no such payment.
    """
    known = await tx.payments.receipt(receipt_id)
    if known is None:
        raise LookupError(f"provider payment {receipt_id} has no row")
    booking, receipt = await _lock_and_read(tx, known.booking_id, receipt_id)
    assert receipt is not None, "a payment's row is never deleted"
    recorded = await _judge(tx, booking, receipt, None)
    if receipt.disputed:
        await dispute.settle(tx, booking.id, receipt.id, request_id=None)
    return recorded


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
    about = subject(booking, receipt)
    tx.ledger.post(ledger.refund_settled(about, refund.id, refund.amount))
    tx.ledger.close(booking.id)
    if not await is_confirming_attempt(tx, booking, receipt):
        tx.payments.raise_status(receipt.payment_id, "refunded")
    settled = (
        EventType.LATE_PAYMENT_REFUNDED
        if receipt.verdict is Verdict.LATE
        else EventType.REFUND_SETTLED
    )
    payload = {"refund_id": str(refund.id), "amount": refund.amount.amount}
    tx.bookings.record(booking, [Event(settled, payload)], actor="system", request_id=request_id)
    if receipt.disputed:
        # It was in flight when the bank took the money, too: evidence, and a loss.
        await dispute.settle(tx, booking.id, receipt.id, request_id=request_id)


async def _note_unpaid(
    tx: Transaction,
    booking: Booking,
    attempt: Attempt,
    receipt: Receipt,
    status: ProviderPaymentStatus,
    request_id: str | None,
) -> None:
    if status is ProviderPaymentStatus.VOIDED:
        await authorise.voided(tx, booking, receipt, request_id)
    elif status is ProviderPaymentStatus.FAILED:
        if await tx.payments.fail(attempt.id):
            queued = tell(tx, booking, "payment_failed", revision=attempt.attempt)
            note(tx, booking, EventType.PAYMENT_FAILED, receipt, request_id, queued)
    elif status is ProviderPaymentStatus.PROCESSING:
        tx.payments.raise_status(attempt.id, "processing")
        tx.payments.reopen_session(attempt.id)


async def _judge(
    tx: Transaction, booking: Booking, receipt: Receipt, request_id: str | None
) -> Recorded:
    """Give the verdict on money, taken or promised; one that sends it back is written at once."""
    if receipt.verdict is Verdict.CONFIRMS:
        return Recorded(booking.id)
    if receipt.verdict is not None:
        if receipt.newly_captured > 0 and await tx.payments.refund_of(receipt.id) is None:
            # It was to be voided, and somebody took it first.
            await send_back(tx, booking, receipt, receipt.verdict, request_id)
        return Recorded(booking.id, refunds=receipt.id)
    fact = capture_fact(
        booking.state,
        expected=booking.total,
        paid=receipt.sum,
        has_confirming=booking.provider_payment_id is not None
        or booking.confirming not in (None, receipt.id),
    )
    decision = decide(booking.state, fact, mode=receipt.mode)
    if decision.back is MoneyBack.VOID:
        assert decision.verdict is not None, "a promise that is let go has its reason"
        await authorise.let_go(tx, booking, receipt, decision.verdict, request_id)
        return Recorded(booking.id, refunds=receipt.id)
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
    about = subject(booking, receipt)
    tx.ledger.post(ledger.refund_requested(about, refund.id, refund.amount))
    if not await is_confirming_attempt(tx, booking, receipt):
        tx.payments.raise_status(receipt.payment_id, "refund_pending")
    revision = await tx.payments.count_refunds(booking.id)
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
            tell(tx, booking, "refund", revision=revision),
        ],
        actor="system",
        request_id=request_id,
    )


def confirm_by(
    tx: Transaction, booking: Booking, receipt: Receipt | None, request_id: str | None
) -> StepOutcome:
    """Sell the booking's claims for this money (None: it costs nothing), under its lock."""
    tx.claims.sell(booking.id, count=booking.seat_count)
    if receipt is not None:
        tx.payments.decide(receipt.id, Verdict.CONFIRMS)
        tx.ledger.post(ledger.confirmed(subject(booking, receipt), receipt.paid))
    tx.ledger.close(booking.id)
    paid_by = str(receipt.id) if receipt else None
    booking = tx.bookings.record(
        booking,
        [
            Event(EventType.BOOKING_CONFIRMED, {"provider_payment_id": paid_by}),
            tell(tx, booking, "confirmation"),
        ],
        actor="system",
        request_id=request_id,
        state=BookingState.CONFIRMED,
        provider_payment_id=receipt.id if receipt else None,
    )
    return StepOutcome(booking.state)
