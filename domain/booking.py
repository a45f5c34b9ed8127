"""A booking's states and the decisions about it: pure functions on what is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from domain.limits import MIN_CHECKOUT_SECONDS
from domain.money import Money


class BookingState(StrEnum):
    """States a client can see; ``pending`` and ``rejected`` are read from the request."""

    PENDING = "pending"
    HELD = "held"
    EXPIRING = "expiring"
    CONFIRMED = "confirmed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    REFUND_PENDING = "refund_pending"
    REFUNDED = "refunded"
    DISPUTED = "disputed"
    CHARGED_BACK = "charged_back"

    @property
    def is_open(self) -> bool:
        """A workflow is still at work on it."""
        return self in OPEN_STATES

    @property
    def is_closing(self) -> bool:
        """The provider session is being closed; the seats are still claimed."""
        return self in (BookingState.EXPIRING, BookingState.CANCELLING)


OPEN_STATES = frozenset({BookingState.HELD, BookingState.EXPIRING, BookingState.CANCELLING})


class CloseReason(StrEnum):
    """Why a hold ends without a confirmation."""

    LAPSED = "lapsed"
    CANCELLED = "cancelled"
    RELEASED = "released"
    FAILED = "failed"

    @property
    def closing_state(self) -> BookingState:
        cancelled = self is CloseReason.CANCELLED
        return BookingState.CANCELLING if cancelled else BookingState.EXPIRING


@dataclass(frozen=True, slots=True)
class SeatPrice:
    """A seat as sold: the price is frozen when the hold begins (minor units)."""

    label: str
    price_class: str
    ticket_type: str
    amount: int


@dataclass(frozen=True, slots=True)
class Booking:
    """A booking row under its lock. ``now`` is the database clock when it was read.

    ``provider_payment_id`` names the payment that confirmed it, ``confirming_payment_id`` the
    authorised one for which its seats were made final, whatever became of that.
    """

    id: UUID
    user_id: UUID
    show_id: UUID
    state: BookingState
    version: int
    sequence: int
    event_hash: bytes
    total: Money
    seat_count: int
    hold_expires_at: datetime
    hold_max_expires_at: datetime
    extensions_left: int
    lapses: bool
    closing_since: datetime | None
    close_reason: CloseReason | None
    provider_payment_id: UUID | None
    now: datetime
    confirming_payment_id: UUID | None = None

    @property
    def confirming(self) -> UUID | None:
        """The payment that is being taken. Until its end nothing frees the seats or confirms."""
        return self.confirming_payment_id if self.state is BookingState.HELD else None

    @property
    def seconds_left(self) -> float:
        """Seconds until the hold's end by the database clock; negative when it is over."""
        return (self.hold_expires_at - self.now).total_seconds()

    @property
    def has_lapsed(self) -> bool:
        return self.seconds_left <= 0


def extended_expiry(booking: Booking, hold_seconds: int) -> datetime:
    """``min(now + hold, the hold's maximum)``, never earlier than it is already."""
    wanted = booking.now + timedelta(seconds=hold_seconds)
    return max(booking.hold_expires_at, min(wanted, booking.hold_max_expires_at))


def checkout_expiry(booking: Booking) -> datetime:
    """The hold's end once a pay page opens: time enough to pay, within the maximum."""
    return extended_expiry(booking, MIN_CHECKOUT_SECONDS)
