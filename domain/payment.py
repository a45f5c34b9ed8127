"""What a provider can tell about money, and what follows for a booking."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.booking import BookingState
from domain.money import Money


class ProviderPaymentStatus(StrEnum):
    """A payment as the provider reports it; also the values of ``provider_payments.status``."""

    PROCESSING = "processing"
    AUTHORISED = "authorised"
    CAPTURED = "captured"
    FAILED = "failed"
    VOIDED = "voided"
    REFUNDED = "refunded"


class SessionStatus(StrEnum):
    """A hosted pay page: ``open`` can still take money, ``expired`` never will, ``paid`` has."""

    OPEN = "open"
    PROCESSING = "processing"
    PAID = "paid"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class ProviderPayment:
    """One payment by the provider's id. ``amount`` is what was paid, not what was asked.

    ``booking_reference`` is the reference given when the session was opened; ``captured`` and
    ``refunded`` are minor units of ``amount.currency``.
    """

    reference: str
    session_id: str
    booking_reference: str
    status: ProviderPaymentStatus
    amount: Money
    captured: int
    refunded: int


@dataclass(frozen=True, slots=True)
class ProviderSession:
    """A session read back from the provider, with every payment made on it."""

    session_id: str
    status: SessionStatus
    checkout_url: str
    expires_at: datetime
    payments: tuple[ProviderPayment, ...] = ()


@dataclass(frozen=True, slots=True)
class ProviderRefund:
    """A refund the provider accepted; ``status`` is pending, succeeded or failed."""

    reference: str
    status: str


class Verdict(StrEnum):
    """What becomes of captured money; all but ``confirms`` send it back whole."""

    CONFIRMS = "confirms"
    LATE = "late"
    DUPLICATE = "duplicate"
    MISMATCH = "mismatch"
    CANCELLED = "cancelled"


def judge_capture(
    state: BookingState, *, expected: Money, paid: Money, has_confirming: bool
) -> Verdict:
    """Decide about one captured payment that was not decided before.

    The booking's state decides what is late, never a comparison of clocks; money seen while the
    hold is open or expiring is on time. A buyer's wish to cancel wins over a payment.
    """
    if paid != expected:
        return Verdict.MISMATCH
    if has_confirming:
        return Verdict.DUPLICATE
    match state:
        case BookingState.PENDING | BookingState.HELD | BookingState.EXPIRING:
            return Verdict.CONFIRMS
        case BookingState.CANCELLING | BookingState.CANCELLED | BookingState.REJECTED:
            return Verdict.CANCELLED
        case BookingState.EXPIRED:
            return Verdict.LATE
        case _:
            return Verdict.DUPLICATE
