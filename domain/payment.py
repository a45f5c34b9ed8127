"""What a provider can tell about money, and the verdicts on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

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


class DisputeStatus(StrEnum):
    """A dispute as the provider reports it; also the values of ``disputes.status``.

    An ``inquiry`` moves no money. ``won`` and ``lost`` are for us, and final.
    """

    INQUIRY = "inquiry"
    OPEN = "open"
    WON = "won"
    LOST = "lost"

    @property
    def is_over(self) -> bool:
        return self in (DisputeStatus.WON, DisputeStatus.LOST)


@dataclass(frozen=True, slots=True)
class ProviderDispute:
    """A dispute by the provider's id; ``amount`` is withdrawn while it is open."""

    reference: str
    status: DisputeStatus
    amount: Money


@dataclass(frozen=True, slots=True)
class ProviderPayment:
    """One payment by the provider's id. ``amount`` is what was paid, not what was asked.

    ``booking_reference`` is the reference given when the session was opened; ``captured`` and
    ``refunded`` are minor units of ``amount.currency``, as is ``fee``: what the provider kept of it
    for itself, 0 as long as it has not told.
    """

    reference: str
    session_id: str
    booking_reference: str
    status: ProviderPaymentStatus
    amount: Money
    captured: int
    refunded: int
    disputes: tuple[ProviderDispute, ...] = ()
    fee: int = 0


@dataclass(frozen=True, slots=True)
class ProviderSession:
    """A session read back from the provider, with every payment made on it."""

    session_id: str
    status: SessionStatus
    checkout_url: str
    expires_at: datetime
    payments: tuple[ProviderPayment, ...] = ()


@dataclass(frozen=True, slots=True)
class PaymentPage:
    """A piece of a provider's list; ``next`` is the cursor of the next one, None at its end."""

    payments: tuple[ProviderPayment, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class ProviderRefund:
    """A refund the provider accepted; ``status`` is pending, succeeded or failed.

    ``amount`` and the ``key`` it was asked for under are told by lists of refunds only.
    """

    reference: str
    status: str
    amount: Money | None = None
    key: str | None = None


class Verdict(StrEnum):
    """What becomes of money; all but ``confirms`` send it back whole.

    ``refused``: it was promised, and the provider would not give it when it was to be taken.
    """

    CONFIRMS = "confirms"
    LATE = "late"
    DUPLICATE = "duplicate"
    MISMATCH = "mismatch"
    CANCELLED = "cancelled"
    REFUSED = "refused"
