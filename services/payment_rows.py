"""A pay page and a payment made on it, as their rows stand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.money import Money
from domain.payment import Verdict
from domain.payment_policy import PaymentMode
from domain.payment_status import PaymentStatus


@dataclass(frozen=True, slots=True)
class Attempt:
    """A row of ``payments``: one pay page of a booking. ``session_open``: it may take money.

    ``mode``: whether paying on it takes the money or only promises it.
    """

    id: UUID
    booking_id: UUID
    attempt: int
    provider: str
    session_id: str | None
    status: str
    amount: Money
    checkout_url: str | None
    return_url: str
    expires_at: datetime
    session_open: bool
    mode: PaymentMode = PaymentMode.CAPTURE

    @property
    def is_open(self) -> bool:
        """Its money may still come; a booking has one such attempt at most."""
        return self.status in ("open", "processing", "authorised")


@dataclass(frozen=True, slots=True)
class Receipt:
    """A row of ``provider_payments``: what the provider says was paid, and our verdict.

    ``promised`` is the sum on the buyer's side, ``paid`` what was taken of it. What recording it
    just now changed, in minor units: ``newly_captured`` were taken, ``newly_promised`` authorised,
    ``promise_ended`` are authorised no more. ``fee`` is what stood in the row before: of what the
    provider keeps for itself, so much is in the ledger. ``disputed``: a dispute of it is open or
    lost, so nothing of it may be sent back.
    """

    id: UUID
    booking_id: UUID
    payment_id: UUID
    provider: str
    reference: str
    status: str
    paid: Money
    promised: Money
    refunded: int
    verdict: Verdict | None
    newly_captured: int = 0
    newly_promised: int = 0
    promise_ended: int = 0
    disputed: bool = False
    fee: int = 0

    @property
    def is_promise(self) -> bool:
        """The money is only authorised: it can be taken, or let go without a refund."""
        return self.status == PaymentStatus.AUTHORISED

    @property
    def sum(self) -> Money:
        """What is judged: all that was taken, or would be."""
        return self.promised if self.is_promise else self.paid

    @property
    def mode(self) -> PaymentMode:
        return PaymentMode.AUTHORISE if self.is_promise else PaymentMode.CAPTURE
