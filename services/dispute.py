"""Disputes (P9): a bank calls money back. The provider tells of it; here is what follows.

First it is noted, whatever the booking is; once the money has its verdict, the booking follows.
Both may be repeated, and the order in which a dispute's opening and end are told is no matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from domain import ledger
from domain.booking import Booking, BookingState
from domain.dispute import Dispute, Return
from domain.events import Event, EventType
from domain.ledger import Account
from domain.payment import DisputeStatus, ProviderDispute, Verdict
from domain.payment_policy import PaymentFact, Step, decide
from domain.refund import state_of
from services import case
from services.notification import tell
from services.payment_rows import Receipt
from services.ports import Transaction
from services.receipt import subject
from services.refund import PAYMENT_STATUS, TURNS

# Whatever else follows, the bank asks for an answer.
FOR_A_PERSON = (Step.REVIEW, Step.DISPUTE, Step.EVIDENCE)


@dataclass(frozen=True, slots=True)
class Freed:
    """Seats that a lost dispute put back on sale; Redis is to forget who had them."""

    booking_id: UUID
    show_id: UUID
    labels: tuple[str, ...]


async def note(
    tx: Transaction,
    booking: Booking,
    receipt: Receipt,
    told: Sequence[ProviderDispute],
    *,
    request_id: str | None,
) -> tuple[Booking, Receipt]:
    """Write down what is new of the payment's disputes, and the money that was withdrawn.

    An inquiry moves no money: it is a note for a person, no more.
    """
    for one in told:
        recorded = await tx.disputes.record(receipt, one)
        if recorded is None:
            await _look_for_reversal(tx, booking, receipt, one)
            continue
        dispute, before = recorded
        if dispute.status is DisputeStatus.INQUIRY:
            case.inquiry(tx, booking, receipt, dispute)
            continue
        payload = {
            "dispute_id": str(dispute.id),
            "provider_payment_id": str(receipt.id),
            "reference": dispute.reference,
            "amount": dispute.amount.amount,
            "currency": dispute.amount.currency,
        }
        about, events = subject(booking, receipt), []
        if before in (None, DisputeStatus.INQUIRY):
            tx.ledger.post(ledger.dispute_opened(about, dispute.reference, dispute.amount))
            events.append(Event(EventType.DISPUTE_OPENED, payload))
        if dispute.status.is_over:
            ended = {**payload, "outcome": dispute.status}
            events.append(Event(EventType.DISPUTE_CLOSED, ended))
        if dispute.status is DisputeStatus.WON:
            tx.ledger.post(ledger.dispute_won(about, dispute.reference, dispute.amount))
        booking = _record(tx, booking, receipt, events, request_id)
    marked = await tx.payments.receipt(receipt.id)
    return booking, replace(receipt, disputed=marked is not None and marked.disputed)


async def settle(
    tx: Transaction, booking_id: UUID, receipt_id: UUID, *, request_id: str | None
) -> Freed | None:
    """Let the booking follow its payment's disputes; what was freed is told at every repeat.

    Raises:
        LookupError: there is no such booking or payment.
    """
    booking = await tx.bookings.lock(booking_id)
    receipt = await tx.payments.receipt(receipt_id)
    if booking is None or receipt is None:
        raise LookupError(f"booking {booking_id} or its payment {receipt_id} has no row")
    disputes = [
        one
        for one in await tx.disputes.of_payment(receipt.id)
        if one.status in (DisputeStatus.OPEN, DisputeStatus.LOST)
    ]
    lost = [one for one in disputes if one.status is DisputeStatus.LOST]
    returns = await tx.disputes.returns(receipt.id)
    decision = decide(
        booking.state, PaymentFact.DISPUTE, refund_settled=_went_back(receipt, returns)
    )
    for dispute in disputes if decision.step in FOR_A_PERSON else ():
        _open_case(tx, booking, receipt, dispute, returns)
    if receipt.verdict is not None:
        for dispute in lost:
            await _bear_loss(tx, booking, receipt, dispute, returns, lost)
    if booking.provider_payment_id != receipt.id:
        return None
    if disputes and decision.becomes is BookingState.DISPUTED:
        events = [Event(EventType.BOOKING_DISPUTED, {})]
        booking = _record(tx, booking, receipt, events, request_id, state=decision.becomes)
    if booking.state is BookingState.DISPUTED and lost:
        booking = await _charge_back(tx, booking, receipt, request_id)
    elif booking.state is BookingState.DISPUTED and not disputes:
        await _restore(tx, booking, receipt, request_id)
    return await _freed(tx, booking)


async def after_refund(
    tx: Transaction, booking_id: UUID, *, request_id: str | None
) -> Freed | None:
    """A refund under way kept the booking from following a dispute; now it ended unpaid."""
    booking = await tx.bookings.lock(booking_id)
    if booking is None or booking.provider_payment_id is None:
        return None
    receipt = await tx.payments.receipt(booking.provider_payment_id)
    if receipt is None or not receipt.disputed:
        return None
    return await settle(tx, booking_id, receipt.id, request_id=request_id)


async def refund_failed(
    tx: Transaction, booking_id: UUID, receipt_id: UUID, refund_id: UUID, *, request_id: str | None
) -> None:
    """The bank ended a refund unpaid that was in flight when the payment was disputed.

    While one is open its end decides whether it is sent again. Lost, the buyer has the money.
    """
    await tx.bookings.lock(booking_id)
    found = {one.status for one in await tx.disputes.of_payment(receipt_id)}
    if DisputeStatus.LOST in found and DisputeStatus.OPEN not in found:
        await tx.refunds.settle(refund_id, "failed")
        await settle(tx, booking_id, receipt_id, request_id=request_id)


async def _look_for_reversal(
    tx: Transaction, booking: Booking, receipt: Receipt, told: ProviderDispute
) -> None:
    """A dispute that is over stays as it ended here; another end, by an appeal, is for a person."""
    if not told.status.is_over:
        return
    for known in await tx.disputes.of_payment(receipt.id):
        if known.reference == told.reference and known.status is not told.status:
            case.dispute_reversed(tx, booking, receipt, known, told.status)


def _open_case(
    tx: Transaction,
    booking: Booking,
    receipt: Receipt,
    dispute: Dispute,
    returns: Sequence[Return],
) -> None:
    """One for the dispute, or where some of the money went back before: with that as evidence."""
    settled = [one for one in returns if one.status == "succeeded"]
    if settled:
        case.evidence(tx, booking, receipt, dispute, settled)
    else:
        case.disputed(tx, booking, receipt, dispute)


async def _bear_loss(
    tx: Transaction,
    booking: Booking,
    receipt: Receipt,
    dispute: Dispute,
    returns: Sequence[Return],
    lost: Sequence[Dispute],
) -> None:
    """The money is gone for good; what was to go back by our own verdict is back with its owner.

    Of a payment that was lost in part the rest stays due, and a person sends it: its refund may
    have been asked for whole before, so no key could send less of it for certain. One in flight has
    to end at the bank first: it may be paid beside what the bank took.
    """
    own = [one for one in returns if one.number is None and one.status != "succeeded"]
    is_due = receipt.verdict is not Verdict.CONFIRMS and bool(own)
    if is_due and any(one.in_flight for one in own):
        return
    source = Account.REFUNDS_DUE if is_due else Account.REVENUE
    if not await tx.disputes.bear(dispute.id, source):
        return
    for one in own:
        await tx.refunds.settle(one.id, "failed")
    rest = receipt.paid.amount - sum(one.amount.amount for one in lost)
    if is_due and rest > 0:
        case.rest_of_disputed(tx, booking, receipt, own[0], replace(receipt.paid, amount=rest))
    about = subject(booking, receipt)
    tx.ledger.post(ledger.dispute_lost(about, dispute.reference, dispute.amount, source=source))


def _went_back(receipt: Receipt, returns: Sequence[Return]) -> bool:
    settled = sum(one.amount.amount for one in returns if one.status == "succeeded")
    return settled >= receipt.paid.amount


async def _charge_back(
    tx: Transaction, booking: Booking, receipt: Receipt, request_id: str | None
) -> Booking:
    """The tickets are void; before the show, the seats can be sold again."""
    standing = await tx.refunds.standing(booking.id)
    assert standing is not None, "the booking is locked"
    labels: list[str] = []
    if standing.now < standing.starts_at:
        kept = [seat.label for seat in standing.seats if not seat.released]
        labels = await tx.refunds.release(booking.id, kept)
    events = [Event(EventType.BOOKING_CHARGED_BACK, {"labels": labels})]
    if labels:
        events.append(Event(EventType.SEAT_RELEASED, {"labels": labels}))
    events.append(tell(tx, booking, "charged_back"))
    return tx.bookings.record(
        booking,
        events,
        actor=f"provider:{receipt.provider}",
        request_id=request_id,
        state=BookingState.CHARGED_BACK,
        seat_count=booking.seat_count - len(labels),
    )


async def _restore(
    tx: Transaction, booking: Booking, receipt: Receipt, request_id: str | None
) -> None:
    """Won: the booking is again what its seats and refunds say."""
    standing = await tx.refunds.standing(booking.id)
    assert standing is not None, "the booking is locked"
    state = state_of(standing)
    if state in PAYMENT_STATUS:
        tx.payments.raise_status(receipt.payment_id, PAYMENT_STATUS[state])
    _record(tx, booking, receipt, [Event(TURNS[state], {})], request_id, state=state)


async def _freed(tx: Transaction, booking: Booking) -> Freed | None:
    if booking.state is not BookingState.CHARGED_BACK:
        return None
    standing = await tx.refunds.standing(booking.id)
    assert standing is not None, "the booking is locked"
    labels = tuple(seat.label for seat in standing.seats if seat.released)
    return Freed(booking.id, booking.show_id, labels) if labels else None


def _record(
    tx: Transaction,
    booking: Booking,
    receipt: Receipt,
    events: list[Event],
    request_id: str | None,
    **changes: BookingState,
) -> Booking:
    return tx.bookings.record(
        booking, events, actor=f"provider:{receipt.provider}", request_id=request_id, **changes
    )
