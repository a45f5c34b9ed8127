"""The steps of a booking: each is one transaction, and repeating it changes nothing more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from domain.booking import Booking, BookingState, CloseReason, SeatPrice, extended_expiry
from domain.events import Event, EventType
from domain.limits import EXTENSIONS_PER_HOLD, REQUEST_TTL_SECONDS
from domain.money import Money
from domain.payment_policy import end_of
from domain.steps import BookingInput, CloseStep, ExtendStep, FinishStep, HoldOutcome, StepOutcome
from services import authorise, case, operator, payment
from services.notification import tell
from services.ports import HoldContext, Taken, Transaction

RUN_OUT = (BookingState.EXPIRING, BookingState.EXPIRED)


class SeatsTaken(Exception):
    """Raised inside a transaction so that it rolls back; carries the labels in the way."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        super().__init__(labels)
        self.labels = labels


def rejected(code: str, detail: str, **data: Any) -> HoldOutcome:
    return HoldOutcome(BookingState.REJECTED, code=code, detail=detail, data=data)


async def hold(tx: Transaction, input: BookingInput) -> HoldOutcome:
    """Hold every asked seat or none.

    Repeated for a booking that exists, it answers where that booking stands.

    Raises:
        SeatsTaken: a seat belongs to somebody else; roll back, then ``reject``.
    """
    booking_id, show_id = UUID(input.booking_id), UUID(input.show_id)
    context = await tx.bookings.hold_context(input)
    # The booking's row and its request's outcome are written by one transaction.
    settled = context.request_outcome is not None
    existing = await tx.bookings.lock(booking_id) if settled else None
    if existing is not None:
        return HoldOutcome(existing.state, seconds_left=existing.seconds_left)
    if (refusal := refuse(context, input)) is not None:
        return refusal
    priced = context.prices
    if unknown := [seat.label for seat in input.seats if seat.label not in priced]:
        return rejected("unknown_seat", f"This show sells no seat {unknown[0]}.", seats=unknown)
    if context.has_lapsed_hold:
        await take_over_lapsed(tx, show_id, sorted(priced), input.request_id)
    claimed = await tx.claims.claim(show_id, sorted(priced), booking_id)
    if isinstance(claimed, Taken):
        raise SeatsTaken(claimed.labels)
    booking = _new_booking(input, context)
    tx.bookings.add(
        booking,
        list(priced.values()),
        _held_events(booking, priced, claimed.fences),
        actor=input.user_id,
        request_id=input.request_id,
    )
    return HoldOutcome(BookingState.HELD, seconds_left=booking.seconds_left)


def reject(tx: Transaction, input: BookingInput, outcome: HoldOutcome) -> None:
    """Write a refusal as the request's outcome, unless it has one."""
    refusal = {"code": outcome.code, "detail": outcome.detail, **outcome.data}
    tx.bookings.reject_request(UUID(input.booking_id), refusal)


def refuse(context: HoldContext, input: BookingInput) -> HoldOutcome | None:
    """Judge a hold by everything but the seats themselves."""
    if context.request_outcome == "rejected":
        data = dict(context.request_refusal or {})
        return rejected(
            str(data.pop("code", "unavailable")), str(data.pop("detail", "Refused before.")), **data
        )
    age = context.request_age_seconds
    if age is None or age > REQUEST_TTL_SECONDS:
        return rejected("unavailable", "The request was too old when its turn came; try again.")
    if context.user_is_gone:
        return rejected("unauthenticated", "This account is gone.")
    if context.show_status != "on_sale" or not context.sales_open:
        return rejected("sales_closed", "This show is not on sale now.")
    if context.live_holds_of_user >= input.max_live_holds_per_user:
        return rejected(
            "limit_reached",
            f"You have {context.live_holds_of_user} unpaid holds; pay or cancel one first.",
            limit="live_holds_per_user",
            maximum=input.max_live_holds_per_user,
        )
    if context.seats_of_user + len(input.seats) > input.max_seats_per_user_show:
        return rejected(
            "limit_reached",
            f"At most {input.max_seats_per_user_show} seats of one show per person.",
            limit="seats_per_user_show",
            maximum=input.max_seats_per_user_show,
        )
    return _refuse_hoarding(context, input)


def _refuse_hoarding(context: HoldContext, input: BookingInput) -> HoldOutcome | None:
    """Holding without buying keeps seats from others: after a few such holds there is a pause."""
    lapsed, cancelled = context.lapsed_holds_of_user, context.cancelled_holds_of_user_show
    per_show = input.max_cancelled_holds_per_show
    limits = (
        ("lapsed_holds", lapsed, input.max_lapsed_holds, "ran out unpaid"),
        ("cancelled_holds_per_show", cancelled, per_show, "of this show were cancelled"),
    )
    minutes = max(1, round(input.cool_down_seconds / 60))
    for name, count, maximum, what in limits:
        if maximum and count >= maximum:
            return rejected(
                "limit_reached",
                f"{count} of your holds {what} within {minutes} minutes; wait a while.",
                limit=name,
                maximum=maximum,
                window_seconds=input.cool_down_seconds,
            )
    return None


async def extend(tx: Transaction, step: ExtendStep) -> StepOutcome:
    """Lengthen a hold to ``min(now + hold, maximum)``; codes as ``POST …/extend`` names them.

    Repeated for an extension that is written, it answers where the booking stands.
    """
    booking = await tx.bookings.lock(UUID(step.booking_id))
    if booking is None:
        # Asked for while the reserve was under way, and that was refused.
        detail = "The booking is rejected."
        return StepOutcome(BookingState.REJECTED, code="invalid_state", detail=detail)
    known = await extension_known(tx, booking, step.extension_id)
    if known is not None:
        return known
    expires_at = extended_expiry(booking, step.hold_seconds)
    payload = {
        "hold_expires_at": expires_at.isoformat(),
        "extensions_left": booking.extensions_left - 1,
        "extension_id": step.extension_id,
        "reason": operator.said(step.request.actor, step.request.reason),
    }
    booking = tx.bookings.record(
        booking,
        [Event(EventType.HOLD_EXTENDED, payload)],
        actor=step.request.actor,
        request_id=step.request.request_id,
        hold_expires_at=expires_at,
        extensions_left=booking.extensions_left - 1,
    )
    operator.note(
        tx,
        "booking.extend",
        booking.id,
        actor=step.request.actor,
        reason=step.request.reason,
        request_id=step.request.request_id,
    )
    return authorise.standing(booking)


async def extension_known(
    tx: Transaction, booking: Booking, extension_id: str
) -> StepOutcome | None:
    """What an extension answers that is written already, or cannot be; None: it may be made."""
    standing = authorise.standing(booking)
    if await tx.bookings.was_extended(booking.id, extension_id):
        return standing
    if booking.state is not BookingState.HELD:
        code = "hold_expired" if booking.state in RUN_OUT else "invalid_state"
        return replace(standing, code=code, detail=f"The booking is {booking.state}.")
    if booking.has_lapsed:
        return replace(standing, code="hold_expired", detail="The hold has run out.")
    if any(attempt.is_open for attempt in await tx.payments.attempts(booking.id)):
        detail = "A pay page is open; pay or cancel."
        return replace(standing, code="payment_open", detail=detail)
    if booking.extensions_left <= 0:
        detail = "This hold was extended often enough."
        return replace(standing, code="extension_limit", detail=detail)
    return None


async def begin_close(tx: Transaction, step: CloseStep) -> StepOutcome:
    """End a hold: at once if no pay page was ever opened, else by way of a closing state.

    A lapse asks the database clock first and answers ``held`` with the seconds left when there
    are any. A cancellation overrides an expiry that is under way: the buyer's wish wins. While
    the money is being taken (``confirming``) nothing ends the hold: the answer says so.
    """
    booking = await tx.bookings.lock(UUID(step.booking_id)) or await _refuse_unheld(tx, step)
    if booking is None:
        return StepOutcome(BookingState.REJECTED, code="unavailable")
    if booking.confirming is not None:
        return authorise.standing(booking)
    if booking.state is BookingState.HELD:
        if step.why is CloseReason.LAPSED and not booking.has_lapsed:
            return authorise.standing(booking)
        if booking.lapses:
            _note_close(tx, step)
            return await end_hold(
                tx,
                booking,
                step.why,
                actor=step.actor,
                note=operator.said(step.actor, step.reason),
                request_id=step.request_id,
            )
        return _start_closing(tx, booking, step)
    if booking.state is BookingState.EXPIRING and step.why is CloseReason.CANCELLED:
        return _start_closing(tx, booking, step)
    return authorise.standing(booking)


async def finish_close(tx: Transaction, step: FinishStep) -> StepOutcome:
    """Free the seats of a closing booking.

    Without the provider's word that its page is closed, only once the grace (longer where money is
    on its way) has run out by the database clock: with ``payment_uncertain``, and polled on.
    Money written down in time, by somebody who died before telling, is named instead: seen while
    expiring it confirms. Where the buyer cancels it is decided here, and goes back.
    """
    booking = await _locked(tx, step.booking_id)
    if not booking.state.is_closing or booking.closing_since is None:
        return authorise.standing(booking)
    if (unjudged := await tx.payments.unjudged(booking.id)) is not None:
        if booking.state is BookingState.EXPIRING:
            return replace(authorise.standing(booking), paid=str(unjudged))
        await payment.judge_again(tx, unjudged)
        return await finish_close(tx, step)
    attempts = await tx.payments.attempts(booking.id)
    uncertain = any(attempt.session_open for attempt in attempts)
    if uncertain:
        known = any(attempt.status == "processing" for attempt in attempts)
        grace = step.longest_grace_seconds if known or step.is_settling else step.grace_seconds
        waited = (booking.now - booking.closing_since).total_seconds()
        if waited < grace:
            return StepOutcome(booking.state, seconds_left=grace - waited)
        case.payment_uncertain(tx, booking)
    why = booking.close_reason or CloseReason.LAPSED
    return await end_hold(
        tx, booking, why, actor="system", request_id=step.request_id, uncertain=uncertain
    )


async def end_hold(
    tx: Transaction,
    booking: Booking,
    why: CloseReason,
    *,
    actor: str,
    note: str = "",
    request_id: str | None = None,
    uncertain: bool = False,
) -> StepOutcome:
    """Free the claims and write the end, in the caller's transaction and under its lock."""
    tx.ledger.close(booking.id)
    labels = await tx.claims.free(booking.id, count=booking.seat_count)
    final = end_of(why)
    was_cancelled = final is BookingState.CANCELLED
    ended = EventType.BOOKING_CANCELLED if was_cancelled else EventType.BOOKING_EXPIRED
    events = [
        Event(ended, {"why": why, "note": note, "payment_uncertain": uncertain}),
        Event(EventType.SEAT_RELEASED, {"labels": labels}),
    ]
    if why in (CloseReason.LAPSED, CloseReason.RELEASED):
        events.append(tell(tx, booking, "lapse"))
    booking = tx.bookings.record(
        booking,
        events,
        actor=actor,
        request_id=request_id,
        state=final,
        close_reason=why,
        payment_uncertain=uncertain,
    )
    return authorise.standing(booking)


async def _refuse_unheld(tx: Transaction, step: CloseStep) -> Booking | None:
    """The hold never took effect: write that down, so that a straggler of it cannot later."""
    refusal = {"code": "unavailable", "detail": "The seats could not be held; try again."}
    tx.bookings.reject_request(UUID(step.booking_id), refusal)
    # One that was just committing was waited for: it has its hold, and that is to be ended.
    return await tx.bookings.lock(UUID(step.booking_id))


def _start_closing(tx: Transaction, booking: Booking, step: CloseStep) -> StepOutcome:
    state = step.why.closing_state
    started = (
        EventType.BOOKING_CANCELLING
        if state is BookingState.CANCELLING
        else EventType.BOOKING_EXPIRING
    )
    _note_close(tx, step)
    booking = tx.bookings.record(
        booking,
        [Event(started, {"why": step.why, "note": operator.said(step.actor, step.reason)})],
        actor=step.actor,
        request_id=step.request_id,
        state=state,
        close_reason=step.why,
        closing_since=booking.closing_since or booking.now,
    )
    return authorise.standing(booking)


def _note_close(tx: Transaction, step: CloseStep) -> None:
    """An operator who ends a hold by hand is named in the audit log."""
    operator.note(
        tx,
        f"booking.{step.why}",
        UUID(step.booking_id),
        actor=step.actor,
        reason=step.reason,
        request_id=step.request_id,
    )


async def take_over_lapsed(
    tx: Transaction, show_id: UUID, asked: list[str], request_id: str | None
) -> None:
    """Expire whole each lapsed hold that stands on an asked seat: selling needs no sweeper."""
    labels = set(asked)
    lapsed_holds = await tx.bookings.lock_lapsed(show_id, sorted(labels))
    # Freeing the old seats and then claiming the new ones would lock rows out of order, and two
    # buyers could wait for one another: lock all of them in order first.
    for lapsed in lapsed_holds:
        labels.update((await tx.bookings.seats(lapsed.id))[1])
    tx.claims.line_up(show_id, sorted(labels))
    for lapsed in lapsed_holds:
        await end_hold(tx, lapsed, CloseReason.LAPSED, actor="system", request_id=request_id)


def _new_booking(input: BookingInput, context: HoldContext) -> Booking:
    """The booking as it is before its first event."""
    longest = max(input.hold_seconds, input.hold_max_seconds)
    return Booking(
        id=UUID(input.booking_id),
        user_id=UUID(input.user_id),
        show_id=UUID(input.show_id),
        state=BookingState.HELD,
        version=2,
        sequence=0,
        event_hash=b"",
        total=Money(sum(seat.amount for seat in context.prices.values()), context.currency),
        seat_count=len(input.seats),
        hold_expires_at=context.now + timedelta(seconds=input.hold_seconds),
        hold_max_expires_at=context.now + timedelta(seconds=longest),
        extensions_left=EXTENSIONS_PER_HOLD,
        lapses=True,
        closing_since=None,
        close_reason=None,
        provider_payment_id=None,
        now=context.now,
    )


def _held_events(
    booking: Booking, priced: Mapping[str, SeatPrice], fences: Mapping[str, int]
) -> list[Event]:
    seats = [
        {
            "label": seat.label,
            "price_class": seat.price_class,
            "ticket_type": seat.ticket_type,
            "amount": seat.amount,
            "fence": fences[seat.label],
        }
        for seat in priced.values()
    ]
    created = {
        "user_id": str(booking.user_id),
        "show_id": str(booking.show_id),
        "currency": booking.total.currency,
        "total_amount": booking.total.amount,
        "hold_expires_at": booking.hold_expires_at.isoformat(),
        "hold_max_expires_at": booking.hold_max_expires_at.isoformat(),
        "extensions_left": booking.extensions_left,
    }
    return [
        Event(EventType.RESERVATION_CREATED, created),
        Event(EventType.SEAT_LOCKED, {"seats": seats}),
    ]


async def _locked(tx: Transaction, booking_id: str) -> Booking:
    booking = await tx.bookings.lock(UUID(booking_id))
    if booking is None:
        raise LookupError(f"booking {booking_id} has no row")
    return booking
