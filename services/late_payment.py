"""Money for a booking that has expired: the same seats again, others on offer, or all of it back.

Decided by the payment's own saga and not where the payment is recorded. Recording takes the
booking's lock first, and this decision needs the user's before it, for the limits, and claims
seats after it; asked for in the other order two of a buyer's transactions could wait for one
another. Until it is decided the money counts as nobody's and the reaper asks for the saga again,
so nothing is lost when the process ends in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from domain.booking import Booking, BookingState, SeatPrice
from domain.events import Event, EventType
from domain.limits import LATE_TRIES
from domain.offer import LateState, Offer, OfferState, choose_instead
from domain.payment import Verdict
from domain.payment_policy import Step, capture_fact, decide
from domain.steps import LateOutcome, LatePaymentInput, OfferAnswer
from services import booking as bookings
from services import dispute, operator, payment
from services.booking import SeatsTaken
from services.notification import tell
from services.offer import LateContext
from services.payment_rows import Receipt
from services.ports import Taken, Transaction, UnitOfWork
from services.work import LateLimits

ENDED = {
    OfferState.DECLINED: EventType.OFFER_DECLINED,
    OfferState.LAPSED: EventType.OFFER_LAPSED,
}


@dataclass(frozen=True, slots=True)
class _Late:
    """A late payment under its locks: the user's, then the booking's."""

    booking: Booking
    receipt: Receipt
    offer: Offer | None


async def settle(begin: UnitOfWork, input: LatePaymentInput, limits: LateLimits) -> LateOutcome:
    """Decide about a late payment in one transaction; decided before, say how it stands.

    Raises:
        LookupError: there is no such payment.
    """
    for _ in range(LATE_TRIES):
        try:
            async with begin() as tx:
                return await _settle(tx, input, limits)
        except SeatsTaken:
            # Free when they were looked at, and gone when they were claimed: look again.
            continue
    async with begin() as tx:
        return await _settle(tx, input, limits, seats_wanted=False)


async def _settle(
    tx: Transaction, input: LatePaymentInput, limits: LateLimits, *, seats_wanted: bool = True
) -> LateOutcome:
    late = await _locked(tx, UUID(input.provider_payment_id))
    booking, receipt = late.booking, late.receipt
    if receipt.verdict is not None or receipt.status != "captured" or _is_open(late.offer):
        return _stands(late)
    if booking.state is not BookingState.EXPIRED:
        news = await payment.judge_again(tx, receipt.id)
        return LateOutcome(LateState.GOES_BACK if news.refunds else LateState.NOTHING_DUE)
    context = await tx.offers.context(booking, receipt.id)
    in_window = _is_in_window(booking, limits)
    # Not asked in vain: seats are looked at only where they would be given.
    may_sit = seats_wanted and in_window and _may_sit(context, booking, limits)
    lost = await tx.offers.lost_seats(booking.id) if may_sit else []
    decision = decide(
        booking.state,
        capture_fact(
            booking.state,
            expected=booking.total,
            paid=receipt.paid,
            has_confirming=context.offered_for is not None,
        ),
        seats_free=may_sit and not await tx.claims.active(booking.show_id, _labels(lost)),
        in_window=in_window,
    )
    if decision.step is Step.REINSTATE:
        await _reinstate(tx, booking, receipt, lost, input.request_id)
        # As money that was on time: it confirms, and then it is disputed.
        freed = receipt.disputed and await dispute.settle(
            tx, booking.id, receipt.id, request_id=input.request_id
        )
        return LateOutcome(LateState.NOTHING_DUE if freed else LateState.CONFIRMED)
    may_choose = may_sit and context.offers_seats and not receipt.disputed
    if may_choose and decision.verdict is Verdict.LATE:
        offer = await _offer(tx, booking, receipt, lost, context, limits, input.request_id)
        if offer is not None:
            return LateOutcome(LateState.OFFERED, offer.seconds_left)
    assert decision.verdict is not None, "captured money for an expired booking is decided"
    await _send_back(tx, booking, receipt, decision.verdict, input.request_id)
    return LateOutcome(LateState.GOES_BACK)


async def answer(begin: UnitOfWork, wish: OfferAnswer, limits: LateLimits) -> LateOutcome:
    """End an offer as its buyer wishes, or because its time is up; the first end stands.

    A lapse that comes early answers ``offered`` with the seconds left. So does an acceptance
    that is refused, with its ``code``: ``limit_reached`` or ``sales_closed``.

    Raises:
        LookupError: there is no such payment.
    """
    async with begin() as tx:
        late = await _locked(tx, UUID(wish.provider_payment_id))
        if late.offer is None or not _is_open(late.offer):
            return _stands(late)
        if wish.end is OfferState.ACCEPTED:
            return await _accept(tx, late, late.offer, wish, limits)
        if wish.end is OfferState.LAPSED and late.offer.seconds_left > 0:
            return _stands(late)
        return await _give_up(tx, late, late.offer, wish.end, wish)


async def abandon(begin: UnitOfWork, input: LatePaymentInput) -> LateOutcome:
    """The undo: whatever was about to be decided or is on offer, this money goes back.

    A booking that it confirmed stands: then there is nothing to undo.
    """
    async with begin() as tx:
        late = await _locked(tx, UUID(input.provider_payment_id))
        if late.offer is not None and _is_open(late.offer):
            wish = OfferAnswer(
                input.provider_payment_id,
                OfferState.LAPSED,
                actor="system",
                reason="the saga ended early",
                request_id=input.request_id,
            )
            return await _give_up(tx, late, late.offer, OfferState.LAPSED, wish)
        is_late = late.receipt.status == "captured" and late.booking.state is BookingState.EXPIRED
        if late.receipt.verdict is not None or not is_late:
            return _stands(late)
        await _send_back(tx, late.booking, late.receipt, Verdict.LATE, input.request_id)
        return LateOutcome(LateState.GOES_BACK)


async def _locked(tx: Transaction, receipt_id: UUID) -> _Late:
    """Lock the user, then the booking, and read again what those locks guard."""
    receipt = await tx.payments.receipt(receipt_id)
    known = await tx.bookings.peek(receipt.booking_id) if receipt else None
    if known is None:
        raise LookupError(f"provider payment {receipt_id} has no row")
    tx.bookings.lock_user(known.user_id, known.show_id)
    booking = await tx.bookings.lock(known.id)
    receipt = await tx.payments.receipt(receipt_id)
    assert booking is not None, "a booking is never deleted"
    assert receipt is not None, "a payment is never deleted"
    return _Late(booking, receipt, await tx.offers.find(receipt_id))


def _is_open(offer: Offer | None) -> bool:
    return offer is not None and offer.state is OfferState.OPEN


def _stands(late: _Late) -> LateOutcome:
    if late.offer is not None and _is_open(late.offer):
        return LateOutcome(LateState.OFFERED, max(0.0, late.offer.seconds_left))
    if late.receipt.verdict is None:
        return LateOutcome(LateState.NOTHING_DUE)
    if late.receipt.verdict is Verdict.CONFIRMS:
        return LateOutcome(LateState.CONFIRMED)
    return LateOutcome(LateState.GOES_BACK, had_offer=late.offer is not None)


def _is_in_window(booking: Booking, limits: LateLimits) -> bool:
    """By the database clock; a window of 0 takes no late money at all."""
    return limits.window_seconds > 0 and -booking.seconds_left <= limits.window_seconds


def _may_sit(context: LateContext, booking: Booking, limits: LateLimits) -> bool:
    """The first late payment of its booking, the show on sale, the buyer within the limits."""
    is_first = not context.decided_before and context.offered_for is None
    return (
        is_first
        and context.on_sale
        and context.sales_open
        and _is_within_limit(context, booking, limits)
    )


def _is_within_limit(context: LateContext, booking: Booking, limits: LateLimits) -> bool:
    return context.seats_of_user + booking.seat_count <= limits.max_seats_per_user_show


async def _reinstate(
    tx: Transaction,
    booking: Booking,
    receipt: Receipt,
    seats: list[SeatPrice],
    request_id: str | None,
) -> None:
    """Claim all the same seats again and sell them, or roll back with ``SeatsTaken``.

    Lapsed holds on them are locked after this booking, whatever their ids. None of them waits
    for it: a hold never locks an expired booking.
    """
    labels = _labels(seats)
    await bookings.take_over_lapsed(tx, booking.show_id, labels, request_id)
    fences = await _claim(tx, booking, labels)
    _confirm(tx, booking, receipt, seats, fences, "system", request_id, offered=False)


async def _offer(
    tx: Transaction,
    booking: Booking,
    receipt: Receipt,
    lost: list[SeatPrice],
    context: LateContext,
    limits: LateLimits,
    request_id: str | None,
) -> Offer | None:
    """Claim other seats for the booking until its buyer answers; None when there are none."""
    seats = choose_instead(lost, *await tx.offers.hall(booking.show_id))
    if seats is None:
        return None
    fences = await _claim(tx, booking, _labels(seats))
    offer = Offer(
        provider_payment_id=receipt.id,
        booking_id=booking.id,
        state=OfferState.OPEN,
        seats=tuple(seats),
        fences=tuple(fences),
        expires_at=min(
            booking.now + timedelta(seconds=limits.offer_seconds), context.sales_close_at
        ),
        now=booking.now,
    )
    tx.offers.add(offer)
    payload = {
        "provider_payment_id": str(receipt.id),
        "seats": _told(seats, fences),
        "expires_at": offer.expires_at.isoformat(),
    }
    tx.bookings.record(
        booking,
        [Event(EventType.SEATS_OFFERED, payload), tell(tx, booking, "offer")],
        actor="system",
        request_id=request_id,
    )
    return offer


async def _accept(
    tx: Transaction, late: _Late, offer: Offer, wish: OfferAnswer, limits: LateLimits
) -> LateOutcome:
    if late.receipt.disputed:
        # Its bank has the money, so it buys nothing.
        return await _give_up(tx, late, offer, OfferState.LAPSED, wish)
    context = await tx.offers.context(late.booking, late.receipt.id)
    left = max(0.0, offer.seconds_left)
    if not context.on_sale:
        detail = "This show is not on sale any more; your money goes back."
        return LateOutcome(LateState.OFFERED, left, code="sales_closed", detail=detail)
    if not _is_within_limit(context, late.booking, limits):
        most = limits.max_seats_per_user_show
        detail = f"At most {most} seats of one show per person; give up others first."
        return LateOutcome(LateState.OFFERED, left, code="limit_reached", detail=detail)
    if offer.seconds_left <= 0:
        return await _give_up(tx, late, offer, OfferState.LAPSED, wish)
    tx.offers.end(offer.provider_payment_id, OfferState.ACCEPTED)
    tx.offers.reseat(late.booking.id, offer.seats)
    _confirm(
        tx,
        late.booking,
        late.receipt,
        list(offer.seats),
        list(offer.fences),
        wish.actor,
        wish.request_id,
        offered=True,
    )
    return LateOutcome(LateState.CONFIRMED)


async def _give_up(
    tx: Transaction, late: _Late, offer: Offer, end: OfferState, wish: OfferAnswer
) -> LateOutcome:
    """Free the offered seats and decide that the money goes back."""
    tx.offers.end(offer.provider_payment_id, end)
    labels = await tx.claims.free(late.booking.id, count=len(offer.seats))
    note = operator.said(wish.actor, wish.reason)
    payload = {"provider_payment_id": str(late.receipt.id), "note": note}
    booking = tx.bookings.record(
        late.booking,
        [Event(ENDED[end], payload), Event(EventType.SEAT_RELEASED, {"labels": labels})],
        actor=wish.actor,
        request_id=wish.request_id,
    )
    await _send_back(tx, booking, late.receipt, Verdict.LATE, wish.request_id)
    return LateOutcome(LateState.GOES_BACK, had_offer=True)


async def _send_back(
    tx: Transaction, booking: Booking, receipt: Receipt, verdict: Verdict, request_id: str | None
) -> None:
    """Decide that the money goes back; a dispute of it that ended before takes its effect now."""
    await payment.send_back(tx, booking, receipt, verdict, request_id)
    if receipt.disputed:
        await dispute.settle(tx, booking.id, receipt.id, request_id=request_id)


async def _claim(tx: Transaction, booking: Booking, labels: list[str]) -> list[int]:
    """The fences of these seats, in their order; raises ``SeatsTaken`` when one is gone."""
    claimed = await tx.claims.claim(booking.show_id, sorted(labels), booking.id)
    if isinstance(claimed, Taken):
        raise SeatsTaken(claimed.labels)
    return [claimed.fences[label] for label in labels]


def _confirm(
    tx: Transaction,
    booking: Booking,
    receipt: Receipt,
    seats: list[SeatPrice],
    fences: list[int],
    actor: str,
    request_id: str | None,
    *,
    offered: bool,
) -> None:
    accepted = {"provider_payment_id": str(receipt.id), "offered": offered}
    booking = tx.bookings.record(
        booking,
        [
            Event(EventType.LATE_PAYMENT_ACCEPTED, accepted),
            Event(EventType.SEAT_LOCKED, {"seats": _told(seats, fences)}),
        ],
        actor=actor,
        request_id=request_id,
    )
    payment.confirm_by(tx, booking, receipt, request_id)


def _labels(seats: list[SeatPrice]) -> list[str]:
    return [seat.label for seat in seats]


def _told(seats: list[SeatPrice], fences: list[int]) -> list[dict[str, object]]:
    return [
        {
            "label": seat.label,
            "price_class": seat.price_class,
            "ticket_type": seat.ticket_type,
            "amount": seat.amount,
            "fence": fence,
        }
        for seat, fence in zip(seats, fences, strict=True)
    ]
