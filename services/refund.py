"""Refunds that somebody asks for: reserved, accepted, settled or withdrawn, a transaction each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from domain import ledger
from domain.booking import Booking, BookingState
from domain.errors import Conflict, NotFound, Unavailable
from domain.events import Event, EventType
from domain.ledger import Account, Posting, Subject
from domain.money import Money
from domain.refund import (
    BRACKETS,
    RETRY,
    Bracket,
    Quote,
    RefundPart,
    Standing,
    parts_of,
    quote,
    quote_sum,
    state_of,
)
from services import case
from services.gateway import PaymentGateway
from services.ports import Transaction, UnitOfWork
from services.refund_retry import try_again

SYSTEM = "system"
# What the booking's state makes of the payment that confirmed it.
PAYMENT_STATUS = {
    BookingState.CONFIRMED: "captured",
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
    ``request_key`` is the same for every repeat of the request.
    """

    seats: tuple[str, ...] | None
    amount: Money | None
    expected: Money | None
    note: str
    request_key: UUID
    actor: str
    request_id: str | None


async def reserve(
    tx: Transaction,
    booking_id: UUID,
    wish: RefundWish,
    brackets: tuple[Bracket, ...] = BRACKETS,
) -> int:
    """Write the refund down before anybody is asked for money; its number.

    A repeat, by its key or for the seats of a refund that is under way, finds the first one.

    Raises:
        Conflict: ``invalid_state``, ``quote_changed`` (with the ``quote``),
            ``nothing_to_refund``, and what ``quote`` and ``quote_sum`` raise.
    """
    booking, standing = await _locked(tx, booking_id)
    if (known := _same(standing, wish)) is not None:
        return known
    if booking.state is not BookingState.CONFIRMED:
        raise Conflict(f"The booking is {booking.state}; there is nothing to refund.")
    told = judge(standing, wish, brackets)
    parts = parts_of(booking.id, standing, told, wish.request_key)
    await tx.refunds.add(
        booking.id,
        parts,
        reason="goodwill" if wish.amount else "requested",
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


async def ask(
    begin: UnitOfWork,
    gateways: Mapping[str, PaymentGateway],
    booking_id: UUID,
    number: int,
    *,
    request_id: str | None,
) -> None:
    """Ask the provider for each part that it has not accepted yet, under the part's own key.

    A part that was accepted before and failed counts each no as one more failure.

    Raises:
        Unavailable: the outcome is not known; ask again.
        Conflict, NotFound: the provider's clear no to a part that it never accepted.
    """
    async with begin.alone() as tx:
        parts = await tx.refunds.parts(booking_id, number)
        known = await tx.refunds.standing(booking_id)
    assert known is not None, "its refund has rows"
    for part in parts:
        if not part.is_pending or part.reference is not None:
            continue
        try:
            answer = await gateways[part.provider].refund(
                part.paid_reference, key=part.key, amount=Money(part.amount, known.currency)
            )
        except (Conflict, NotFound):
            if not part.was_accepted:
                raise
            async with begin() as tx:
                await fail(tx, booking_id, part, None, request_id=request_id)
            continue
        async with begin() as tx:
            await accept(tx, booking_id, part, answer.reference, request_id=request_id)
            if answer.status == "failed":
                await fail(tx, booking_id, part, answer.reference, request_id=request_id)


async def accept(
    tx: Transaction, booking_id: UUID, part: RefundPart, reference: str, *, request_id: str | None
) -> None:
    """The provider will pay this part: its seats go back on sale in the same transaction.

    They went before when this is another try.
    """
    booking = await _booking(tx, booking_id)
    if not await tx.refunds.accept(part.id, reference, part.tries) or part.tries:
        return
    told = {"number": part.number, "refund_id": str(part.id), "amount": part.amount}
    events = [Event(EventType.REFUND_ACCEPTED, told)]
    if part.seats:
        labels = await tx.refunds.release(booking_id, part.seats)
        if labels != sorted(part.seats):
            raise LookupError(f"of {part.seats} of booking {booking_id} only {labels} were sold")
        events.append(Event(EventType.SEAT_RELEASED, {"labels": labels}))
    await _record(
        tx,
        booking,
        events,
        actor=f"provider:{part.provider}",
        request_id=request_id,
        released=len(part.seats),
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


async def settle(
    begin: UnitOfWork,
    gateways: Mapping[str, PaymentGateway],
    booking_id: UUID,
    number: int,
    *,
    request_id: str | None,
) -> str:
    """Read the accepted parts at the provider and record how they ended; the refund's outcome.

    ``retry``: a part failed and has to be asked for again.

    Raises:
        Unavailable: a part is not settled yet, or the provider did not answer; ask again.
    """
    async with begin.alone() as tx:
        parts = await tx.refunds.parts(booking_id, number)
    for part in parts:
        if not part.is_pending or part.reference is None:
            continue
        answer = await gateways[part.provider].read_refund(part.reference)
        if answer.status == "pending":
            continue
        async with begin() as tx:
            if answer.status == "failed":
                await fail(tx, booking_id, part, part.reference, request_id=request_id)
            else:
                await record_end(tx, booking_id, part, answer.status, request_id=request_id)
    async with begin.alone() as tx:
        parts = await tx.refunds.parts(booking_id, number)
    if any(part.is_pending and part.reference is None for part in parts):
        return RETRY
    if any(part.is_pending for part in parts):
        raise Unavailable("The provider has not settled the refund yet.")
    return "succeeded" if all(part.status == "succeeded" for part in parts) else "failed"


async def fail(
    tx: Transaction,
    booking_id: UUID,
    part: RefundPart,
    reference: str | None,
    *,
    request_id: str | None,
) -> None:
    """The provider says that this try of an accepted part failed: another try, or its end."""
    booking = await _booking(tx, booking_id)
    if not await try_again(
        tx, booking, part.id, reference=reference, tries=part.tries, request_id=request_id
    ):
        await record_end(tx, booking_id, part, "failed", request_id=request_id)


async def record_end(
    tx: Transaction, booking_id: UUID, part: RefundPart, status: str, *, request_id: str | None
) -> None:
    """Write how an accepted part ended; the last one to arrive tells the buyer."""
    booking = await _booking(tx, booking_id)
    if not await tx.refunds.settle(part.id, status):
        return
    if status != "succeeded":
        case.refund_failed(
            tx,
            booking_id=booking.id,
            provider_payment_id=part.provider_payment_id,
            refund_id=part.id,
            provider=part.provider,
            amount=Money(part.amount, booking.total.currency),
        )
        await _told_failed(tx, booking, [part], request_id=request_id)
        return
    _post(tx, booking, part, ledger.refund_settled)
    tx.ledger.close(booking.id)
    told = {"number": part.number, "refund_id": str(part.id), "amount": part.amount}
    tx.outbox.queue(
        booking_id=booking.id,
        user_id=booking.user_id,
        template="refund",
        revision=await tx.refunds.place(part.id),
    )
    events = [
        Event(EventType.REFUND_SETTLED, told),
        Event(EventType.NOTIFICATION_QUEUED, {"template": "refund"}),
    ]
    await _record(tx, booking, events, actor=f"provider:{part.provider}", request_id=request_id)


async def _told_failed(
    tx: Transaction, booking: Booking, parts: Sequence[RefundPart], *, request_id: str | None
) -> None:
    events = [
        Event(
            EventType.REFUND_FAILED,
            {
                "number": part.number,
                "refund_id": str(part.id),
                "amount": part.amount,
                "accepted": part.was_accepted,
            },
        )
        for part in parts
    ]
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
        if booking.provider_payment_id is not None:
            receipt = await tx.payments.receipt(booking.provider_payment_id)
            assert receipt is not None, "it confirmed the booking"
            tx.payments.set_status(receipt.payment_id, PAYMENT_STATUS[state])
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
