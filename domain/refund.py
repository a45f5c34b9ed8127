"""Refunds that somebody asks for: what they give back, out of which payments, and what is left."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from domain import ids
from domain.booking import BookingState
from domain.errors import Conflict, Invalid
from domain.money import Money, payable


@dataclass(frozen=True, slots=True)
class Bracket:
    """``percent`` of a seat's price goes back until ``before`` the show, and at that instant."""

    before: timedelta
    percent: int


BRACKETS = (Bracket(timedelta(hours=24), 100), Bracket(timedelta(hours=2), 50))
"""Earliest first; after the last of them nothing goes back."""
# How a sending ends whose refund failed at the provider and has tries left.
RETRY = "retry"
MAX_BRACKETS = 20
BRACKET = re.compile(r"(\d{1,5})([dhm]):(\d{1,3})", re.ASCII)
UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}


def parse_brackets(text: str) -> tuple[Bracket, ...]:
    """Brackets as people write them: ``72h:100,24h:50,0h:0``, times before the show in d, h or m.

    Raises:
        ValueError: it says which part cannot be meant.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MAX_BRACKETS:
        raise ValueError(f"at most {MAX_BRACKETS} brackets, not {len(parts)}")
    brackets: list[Bracket] = []
    for part in parts:
        if (found := BRACKET.fullmatch(part)) is None:
            raise ValueError(f"{part!r} is no bracket such as 24h:100 (d, h or m, then percent)")
        bracket = Bracket(int(found[1]) * UNITS[found[2]], int(found[3]))
        if bracket.percent > 100:
            raise ValueError(f"{part!r}: more than 100 percent cannot go back")
        if brackets and bracket.before >= brackets[-1].before:
            raise ValueError(f"{part!r} must be closer to the show than the bracket before it")
        if brackets and bracket.percent >= brackets[-1].percent:
            raise ValueError(f"{part!r} must give back less than the bracket before it")
        brackets.append(bracket)
    return tuple(brackets)


@dataclass(frozen=True, slots=True)
class SoldSeat:
    """A seat at its frozen price (minor units). ``released``: it went back on sale."""

    label: str
    amount: int
    released: bool


@dataclass(frozen=True, slots=True)
class Purse:
    """A captured payment of the booking; ``promised`` went back or is on its way (minor units)."""

    id: UUID
    provider: str
    captured: int
    promised: int

    @property
    def left(self) -> int:
        return max(0, self.captured - self.promised)


@dataclass(frozen=True, slots=True)
class RefundPart:
    """A row of ``refunds`` that was asked for: what refund ``number`` takes out of one payment.

    ``reference`` is the provider's id of the refund, known since the provider accepted it.
    ``tries`` were accepted and failed afterwards; each of them had a key of its own.
    """

    id: UUID
    provider_payment_id: UUID
    number: int
    part: int
    status: str
    seats: tuple[str, ...]
    amount: int
    reference: str | None
    provider: str
    paid_reference: str
    key: str
    request_key: UUID | None
    tries: int = 0

    @property
    def was_accepted(self) -> bool:
        """Its seats are given up for good: the provider took it once, whatever came of it."""
        return self.reference is not None or self.tries > 0

    @property
    def is_pending(self) -> bool:
        return self.status == "pending"


@dataclass(frozen=True, slots=True)
class Standing:
    """All that a refund is judged by. ``now`` is the database clock.

    ``purses`` are in the order in which money is taken out of them; ``parts`` by number and part.
    """

    state: BookingState
    currency: str
    starts_at: datetime
    now: datetime
    seats: tuple[SoldSeat, ...]
    purses: tuple[Purse, ...]
    parts: tuple[RefundPart, ...]

    @property
    def seats_left(self) -> tuple[SoldSeat, ...]:
        """Seats that are the buyer's and that no refund under way gives up."""
        going = {label for part in self.parts if part.is_pending for label in part.seats}
        return tuple(seat for seat in self.seats if not seat.released and seat.label not in going)

    @property
    def money_left(self) -> int:
        return sum(purse.left for purse in self.purses)

    @property
    def next_number(self) -> int:
        return max((part.number for part in self.parts), default=0) + 1

    def of(self, number: int) -> tuple[RefundPart, ...]:
        return tuple(part for part in self.parts if part.number == number)


@dataclass(frozen=True, slots=True)
class Quote:
    """What a refund gives back now. ``percent`` is None for a sum that staff named.

    ``expires_at`` is when the percentage falls, None when it cannot fall any more.
    """

    amount: Money
    percent: int | None
    seats: tuple[str, ...]
    expires_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        end = self.expires_at
        return {
            "amount": {"amount": self.amount.amount, "currency": self.amount.currency},
            "percent": self.percent,
            "seats": list(self.seats),
            "expires_at": end.strftime("%Y-%m-%dT%H:%M:%S.") + f"{end.microsecond // 1000:03d}Z"
            if end
            else None,
        }


def quote(
    standing: Standing,
    labels: Sequence[str] | None,
    brackets: Iterable[Bracket] = BRACKETS,
) -> Quote:
    """What giving up ``labels`` (None: every seat left) pays back now.

    Rounded down for each seat to what can be paid; never more than is left of what was captured.

    Raises:
        Invalid: ``unknown_seat`` or ``duplicate_seat``.
        Conflict: ``seat_refunded``, for a seat that was given up before.
    """
    seats = _chosen(standing, labels)
    percent, expires_at = percent_now(standing.starts_at, standing.now, brackets)
    amount = sum(payable(seat.amount * percent // 100, standing.currency) for seat in seats)
    return Quote(
        Money(min(amount, standing.money_left), standing.currency),
        percent,
        tuple(seat.label for seat in seats),
        expires_at,
    )


def quote_sum(standing: Standing, amount: Money, labels: Sequence[str] | None) -> Quote:
    """A sum that staff name, whatever the brackets say; only ``labels`` are given up for it.

    Raises:
        Invalid: another currency than was paid; a sum that cannot be paid, unless it is all that is
            left; what ``quote`` raises about ``labels``.
        Conflict: ``exceeds_captured``, with what is ``left``.
    """
    if amount.currency != standing.currency:
        raise Invalid(f"This booking was paid in {standing.currency}.")
    if amount.amount > standing.money_left:
        raise Conflict(
            "That is more than is left of what was paid.",
            code="exceeds_captured",
            left={"amount": standing.money_left, "currency": standing.currency},
        )
    if amount.amount not in (payable(amount.amount, amount.currency), standing.money_left):
        raise Invalid(f"Of {amount.currency} only tens of its smallest unit can be paid.")
    seats = _chosen(standing, labels or ())
    return Quote(amount, None, tuple(seat.label for seat in seats), None)


def percent_now(
    starts_at: datetime, now: datetime, brackets: Iterable[Bracket] = BRACKETS
) -> tuple[int, datetime | None]:
    """The share that goes back at ``now``, and until when; the last share has no end."""
    for bracket in brackets:
        if bracket.percent and now <= starts_at - bracket.before:
            return bracket.percent, starts_at - bracket.before
    return 0, None


def split(amount: int, purses: Sequence[Purse]) -> list[tuple[Purse, int]]:
    """Take ``amount`` out of the payments in their order.

    Raises:
        ValueError: they have not so much left.
    """
    taken: list[tuple[Purse, int]] = []
    for purse in purses:
        if part := min(amount, purse.left):
            taken.append((purse, part))
            amount -= part
    if amount:
        raise ValueError(f"{amount} more than is left")
    return taken


def parts_of(
    booking_id: UUID, standing: Standing, told: Quote, request_key: UUID
) -> list[RefundPart]:
    """One part for each payment that the sum is taken out of; the first gives up the seats."""
    number = standing.next_number
    taken = split(told.amount.amount, standing.purses)
    return [
        RefundPart(
            id=ids.asked_refund_id(booking_id, number, part),
            provider_payment_id=purse.id,
            number=number,
            part=part,
            status="pending",
            seats=told.seats if part == 1 else (),
            amount=amount,
            reference=None,
            provider=purse.provider,
            paid_reference="",
            key=f"refund:{booking_id}:{number}" + (f":{part}" if part > 1 else ""),
            request_key=request_key,
        )
        for part, (purse, amount) in enumerate(taken, 1)
    ]


def state_of(standing: Standing) -> BookingState:
    """Where a booking stands by its refunds: confirmed for as long as a seat is left to it.

    Without seats it is ``refunded`` once all that was promised has arrived; a refund that the
    provider accepted and that failed afterwards keeps it ``refund_pending``, for a person.
    """
    if standing.seats_left:
        return BookingState.CONFIRMED
    accepted = {part.number for part in standing.parts if part.was_accepted}
    is_owed = any(
        part.is_pending or (part.status == "failed" and part.number in accepted)
        for part in standing.parts
    )
    return BookingState.REFUND_PENDING if is_owed else BookingState.REFUNDED


def payment_disputed() -> Conflict:
    """Why nothing of a payment is sent back now."""
    return Conflict(
        "The buyer's bank disputes this payment; nothing is refunded until that ends.",
        code="payment_disputed",
    )


def _chosen(standing: Standing, labels: Sequence[str] | None) -> tuple[SoldSeat, ...]:
    if labels is None:
        return standing.seats_left
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise Invalid(f"Seat {twice} is named twice.", code="duplicate_seat", seats=[twice])
    sold = {seat.label for seat in standing.seats}
    if unknown := [label for label in labels if label not in sold]:
        raise Invalid(f"This booking has no seat {unknown[0]}.", code="unknown_seat", seats=unknown)
    left = {seat.label: seat for seat in standing.seats_left}
    if gone := [label for label in labels if label not in left]:
        raise Conflict(f"Seat {gone[0]} was given up already.", code="seat_refunded", seats=gone)
    return tuple(left[label] for label in labels)
