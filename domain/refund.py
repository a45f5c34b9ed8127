"""Refunds that somebody asks for: what they give back, out of which payments, and what is left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from domain.booking import BookingState
from domain.errors import Conflict, Invalid
from domain.money import Money


@dataclass(frozen=True, slots=True)
class Bracket:
    """``percent`` of a seat's price goes back until ``before`` the show, and at that instant."""

    before: timedelta
    percent: int


BRACKETS = (Bracket(timedelta(hours=24), 100), Bracket(timedelta(hours=2), 50))
"""Earliest first; after the last of them nothing goes back."""


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


def quote(standing: Standing, labels: Sequence[str] | None) -> Quote:
    """What giving up ``labels`` (None: every seat left) pays back now.

    Rounded down to the minor unit for each seat; never more than is left of what was captured.

    Raises:
        Invalid: ``unknown_seat`` or ``duplicate_seat``.
        Conflict: ``seat_refunded``, for a seat that was given up before.
    """
    seats = _chosen(standing, labels)
    percent, expires_at = percent_now(standing.starts_at, standing.now)
    amount = sum(seat.amount * percent // 100 for seat in seats)
    return Quote(
        Money(min(amount, standing.money_left), standing.currency),
        percent,
        tuple(seat.label for seat in seats),
        expires_at,
    )


def quote_sum(standing: Standing, amount: Money, labels: Sequence[str] | None) -> Quote:
    """A sum that staff name, whatever the brackets say; only ``labels`` are given up for it.

    Raises:
        Invalid: another currency than was paid; what ``quote`` raises about ``labels``.
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
    seats = _chosen(standing, labels or ())
    return Quote(amount, None, tuple(seat.label for seat in seats), None)


def percent_now(
    starts_at: datetime, now: datetime, brackets: Iterable[Bracket] = BRACKETS
) -> tuple[int, datetime | None]:
    """The share that goes back at ``now``, and until when; the last share has no end."""
    for bracket in brackets:
        if now <= starts_at - bracket.before:
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


def state_of(standing: Standing) -> BookingState:
    """Where a booking stands by its refunds: confirmed for as long as a seat is left to it.

    Without seats it is ``refunded`` once all that was promised has arrived; a refund that the
    provider accepted and that failed afterwards keeps it ``refund_pending``, for a person.
    """
    if standing.seats_left:
        return BookingState.CONFIRMED
    accepted = {part.number for part in standing.parts if part.reference is not None}
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
