"""Refunds that somebody asks for: reserved, accepted, settled or withdrawn, a transaction each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from domain import ledger
from domain.booking import Booking, BookingState
from domain.errors import Conflict, NotFound
from domain.events import Event, EventType
from domain.ledger import Account, Posting, Subject
from domain.money import Money
from domain.refund import (
    BRACKETS,
    Bracket,
    Quote,
    RefundPart,
    Standing,
    parts_of,
    payment_disputed,
    quote,
    quote_sum,
    state_of,
)
from services import case
from services.notification import tell
from services.ports import Transaction

SYSTEM = "system"
# What the booking's state makes of the payment that confirmed it, once every seat is given up.
PAYMENT_STATUS = {
    BookingState.REFUND_PENDING: "refund_pending",
    BookingState.REFUNDED: "refunded",
}
TURNS = {
    BookingState.CONFIRMED: EventType.BOOKING_RESTORED,
    BookingState.REFUND_PENDING: EventType.BOOKING_REFUNDING,
    BookingState.REFUNDED: EventType.BOOKING_REFUNDED,
}


@dataclass(frozen=True, slots=True)
class RefundWish:
    """What is asked for. ``seats`` None: all that are left, or with ``amount``, none.

    ``amount`` is a sum that staff name; ``expected`` is the quote that the asker has seen;
    ``request_key`` is the same for every repeat of the request; ``because`` is the refund's
    reason where it is neither a request nor goodwill.
    """

    seats: tuple[str, ...] | None
    amount: Money | None
    expected: Money | None
    note: str
    request_key: UUID
    actor: str
    request_id: str | None
    because: str | None = None


async def reserve(
    tx: Transaction,
    booking_id: UUID,
    wish: RefundWish,
    brackets: tuple[Bracket, ...] = BRACKETS,
) -> int:
    """Write the refund down before anybody is asked for money; its number.

    A repeat, by its key or for the seats of a refund that is under way, finds the first one.

    Raises:
        Conflict: ``invalid_state``, ``payment_disputed``, ``quote_changed`` (with the ``quote``),
            ``nothing_to_refund``, and what ``quote`` and ``quote_sum`` raise.
    """
    booking, standing = await _locked(tx, booking_id)
    if (known := _same(standing, wish)) is not None:
        return known
    if booking.state is BookingState.DISPUTED:
        raise payment_disputed()
    if booking.state is not BookingState.CONFIRMED:
        raise Conflict(f"The booking is {booking.state}; there is nothing to refund.")
    told = judge(standing, wish, brackets)
    parts = parts_of(booking.id, standing, told, wish.request_key)
    await tx.refunds.add(
        booking.id,
        parts,
        reason=wish.because or ("goodwill" if wish.amount else "requested"),
        note=wish.note,
    )
    payload = {
        "number": parts[0].number,
        "amount": told.amount.amount,
        "currency": told.amount.currency,
        "percent": told.percent,
        "labels": list(told.seats),
        "refunds": [
            {
                "refund_id": str(part.id),
                "provider_payment_id": str(part.provider_payment_id),
                "amount": part.amount,
            }
            for part in parts
        ],
    }
    for part in parts:
        _post(tx, booking, part, partial(ledger.refund_requested, source=Account.REVENUE))
    events = [Event(EventType.REFUND_RESERVED, payload)]
    await _record(tx, booking, events, actor=wish.actor, request_id=wish.request_id)
    return parts[0].number


def judge(standing: Standing, wish: RefundWish, brackets: tuple[Bracket, ...] = BRACKETS) -> Quote:
    """What the wish is worth now; raises as ``reserve`` says."""
    if wish.amount is not None:
        told = quote_sum(standing, wish.amount, wish.seats)
    else:
        told = quote(standing, wish.seats, brackets)
    if wish.expected is not None and wish.expected != told.amount:
        raise Conflict(
            "The refund is another sum by now; look at the quote and ask again.",
            code="quote_changed",
            quote=told.as_json(),
        )
    if told.amount.amount == 0:
        raise Conflict("Nothing would go back.", code="nothing_to_refund", quote=told.as_json())
    return told


async def accept(
    tx: Transaction,
    booking_id: UUID,
    part: RefundPart,
    reference: str,
    *,
    is_found: bool,
    request_id: str | None,
) -> None:
    """The provider will pay this part: its seats go back on sale in the same transaction.

    They went before when this is another try. ``is_found``: see ``Refunds.accept``.
    """
    booking = await _booking(tx, booking_id)
    is_news = await tx.refunds.accept(part.id, reference, part.tries, is_found=is_found)
    if not is_news or part.tries:
        return
    told = {"number": part.number, "refund_id": str(part.id), "amount": part.amount}
    events = [Event(EventType.REFUND_ACCEPTED, told)]
    released = 0
    if part.seats and booking.state is not BookingState.CHARGED_BACK:
        labels = await tx.refunds.release(booking_id, part.seats)
        if labels != sorted(part.seats):
            raise LookupError(f"of {part.seats} of booking {booking_id} only {labels} were sold")
        events.append(Event(EventType.SEAT_RELEASED, {"labels": labels}))
        released = len(labels)
    events.append(await _tell(tx, booking, part, "refund_accepted"))
    await _record(
        tx,
        booking,
        events,
        actor=f"provider:{part.provider}",
        request_id=request_id,
        released=released,
    )


async def withdraw(
    tx: Transaction, booking_id: UUID, number: int, *, request_id: str | None
) -> None:
    """Fail what the provider never accepted; seats that were not given up stay sold.

    Without such parts it changes nothing.
    """
    booking, standing = await _locked(tx, booking_id)
    ended = [
        part
        for part in standing.of(number)
        if part.is_pending and not part.was_accepted and await tx.refunds.settle(part.id, "failed")
    ]
    for part in ended:
        _post(tx, booking, part, ledger.refund_withdrawn)
    tx.ledger.close(booking.id)
    if ended:
        await _told_failed(tx, booking, ended, request_id=request_id)


async def record_end(
    tx: Transaction, booking_id: UUID, part: RefundPart, status: str, *, request_id: str | None
) -> None:
    """Write how an accepted part ended; the last one to arrive tells the buyer."""
    booking = await _booking(tx, booking_id)
    if not await tx.refunds.settle(part.id, status):
        return
    if status != "succeeded":
        await _told_failed(tx, booking, [part], request_id=request_id)
        return
    _post(tx, booking, part, ledger.refund_settled)
    tx.ledger.close(booking.id)
    told = {"number": part.number, "refund_id": str(part.id), "amount": part.amount}
    events = [Event(EventType.REFUND_SETTLED, told), await _tell(tx, booking, part, "refund")]
    await _record(tx, booking, events, actor=f"provider:{part.provider}", request_id=request_id)


async def _tell(tx: Transaction, booking: Booking, part: RefundPart, template: str) -> Event:
    """Queue a message about one refund; a revision is its place among the booking's refunds."""
    return tell(tx, booking, template, revision=await tx.refunds.place(part.id))


async def _told_failed(
    tx: Transaction, booking: Booking, parts: Sequence[RefundPart], *, request_id: str | None
) -> None:
    events: list[Event] = []
    for part in parts:
        told = {
            "number": part.number,
            "refund_id": str(part.id),
            "amount": part.amount,
            "accepted": part.was_accepted,
        }
        # The buyer is told that a person looks at it, so one must.
        case.refund_failed(
            tx,
            booking_id=booking.id,
            provider_payment_id=part.provider_payment_id,
            refund_id=part.id,
            provider=part.provider,
            amount=Money(part.amount, booking.total.currency),
        )
        events.append(Event(EventType.REFUND_FAILED, told))
        events.append(await _tell(tx, booking, part, "refund_failed"))
    await _record(tx, booking, events, actor=SYSTEM, request_id=request_id)


async def _record(
    tx: Transaction,
    booking: Booking,
    events: list[Event],
    *,
    actor: str,
    request_id: str | None,
    released: int = 0,
) -> None:
    """Write the events, and the state that follows from the refunds as they are now."""
    standing = await tx.refunds.standing(booking.id)
    assert standing is not None, "it is locked"
    # A dispute or its end is not for a refund to change.
    state = state_of(standing) if booking.state in TURNS else booking.state
    if state is not booking.state:
        events = [*events, Event(TURNS[state], {})]
    # Until every seat is given up the refund may still be withdrawn, and a status never falls.
    if state in PAYMENT_STATUS and booking.seat_count == released and booking.provider_payment_id:
        receipt = await tx.payments.receipt(booking.provider_payment_id)
        assert receipt is not None, "it confirmed the booking"
        tx.payments.raise_status(receipt.payment_id, PAYMENT_STATUS[state])
    tx.bookings.record(
        booking,
        events,
        actor=actor,
        request_id=request_id,
        state=state,
        seat_count=booking.seat_count - released,
    )


def _post(
    tx: Transaction,
    booking: Booking,
    part: RefundPart,
    fact: Callable[[Subject, UUID, Money], Posting],
) -> None:
    subject = Subject(booking.id, booking.show_id, part.provider, part.provider_payment_id)
    tx.ledger.post(fact(subject, part.id, Money(part.amount, booking.total.currency)))


async def _booking(tx: Transaction, booking_id: UUID) -> Booking:
    booking = await tx.bookings.lock(booking_id)
    if booking is None:
        raise NotFound("There is no such booking.")
    return booking


async def _locked(tx: Transaction, booking_id: UUID) -> tuple[Booking, Standing]:
    booking = await _booking(tx, booking_id)
    standing = await tx.refunds.standing(booking_id)
    assert standing is not None, "the booking is locked"
    return booking, standing


def _same(standing: Standing, wish: RefundWish) -> int | None:
    """The refund that a repeat of ``wish`` asks for again."""
    for part in standing.parts:
        if part.request_key == wish.request_key:
            return part.number
    if wish.amount is not None:
        return None
    for part in reversed(standing.parts):
        wanted = wish.seats is None and standing.state is BookingState.REFUND_PENDING
        if part.is_pending and part.seats and (wanted or set(part.seats) == set(wish.seats or ())):
            return part.number
    return None
