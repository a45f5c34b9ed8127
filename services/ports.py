"""What the services need from the outside: one transaction and the tables in it, by noun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from domain.booking import Booking, SeatPrice
from domain.events import Event
from domain.money import Money
from domain.payment import ProviderPayment, Verdict
from domain.steps import BookingInput
from services.preclaim import ActiveClaim


@dataclass(frozen=True, slots=True)
class HoldContext:
    """What a hold is judged by, read in one statement under the user's advisory lock.

    ``request_age_seconds`` is by the database clock; ``seats_of_user`` counts this user's live
    and confirmed seats of the show.
    """

    request_age_seconds: float | None
    request_outcome: str | None
    request_refusal: Mapping[str, Any] | None
    show_status: str
    sales_open: bool
    currency: str
    seats_of_user: int
    live_holds_of_user: int


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """``outcome`` is ``held``, ``rejected`` (with the ``refusal``) or not known yet."""

    outcome: str | None
    refusal: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class NewBooking:
    id: UUID
    user_id: UUID
    show_id: UUID
    total: Money
    hold_seconds: int
    hold_max_seconds: int
    extensions_left: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """Every asked seat is now this booking's; ``fences`` by label."""

    fences: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Taken:
    """No seat was claimed; these are in the way."""

    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A row of ``payments``: one pay page of a booking."""

    id: UUID
    booking_id: UUID
    attempt: int
    provider: str
    session_id: str | None
    status: str
    amount: Money
    checkout_url: str | None
    expires_at: datetime
    session_open: bool


@dataclass(frozen=True, slots=True)
class Receipt:
    """A row of ``provider_payments``: what the provider says was paid, and our verdict."""

    id: UUID
    booking_id: UUID
    payment_id: UUID
    provider: str
    reference: str
    status: str
    paid: Money
    refunded: int
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Refund:
    id: UUID
    booking_id: UUID
    provider_payment_id: UUID
    reference: str
    provider: str
    idempotency_key: str
    reason: str
    status: str
    amount: Money


class Bookings(Protocol):
    async def hold_context(self, *, booking_id: UUID, user_id: UUID, show_id: UUID) -> HoldContext:
        """Take the user's advisory lock and the request's row lock, then read."""
        ...

    async def add(self, new: NewBooking, seats: Sequence[SeatPrice]) -> Booking: ...

    async def lock(self, booking_id: UUID) -> Booking | None:
        """The row under ``FOR UPDATE``, with the database clock read after the lock came."""
        ...

    async def peek(self, booking_id: UUID) -> Booking | None:
        """The row without a lock: good for answers, not for decisions."""
        ...

    async def lock_lapsed(self, show_id: UUID, labels: Sequence[str]) -> list[Booking]:
        """Lock, in id order, the lapsed holds that stand on these seats and may be taken over."""
        ...

    async def seats(self, booking_id: UUID) -> tuple[UUID, list[str]]:
        """The booking's show and its labels, in order."""
        ...

    async def record(
        self,
        booking: Booking,
        events: Sequence[Event],
        *,
        actor: str,
        request_id: str | None,
        **changes: Any,
    ) -> Booking:
        """Write ``changes``, version + 1 and the events; the version must be as it was read."""
        ...

    async def add_request(
        self, input: BookingInput, *, key_hash: bytes | None, body_hash: bytes
    ) -> RequestOutcome:
        """Insert the request unless it is there; what is known of its outcome."""
        ...

    async def request_outcome(self, booking_id: UUID) -> RequestOutcome: ...

    async def settle_request(
        self, booking_id: UUID, outcome: str, refusal: Mapping[str, Any] | None = None
    ) -> bool:
        """Write the request's outcome if it has none; whether this call wrote it."""
        ...


class SeatClaims(Protocol):
    async def priced(
        self, show_id: UUID, choices: Sequence[tuple[str, str]]
    ) -> Mapping[str, SeatPrice]:
        """Price (label, ticket type) pairs; a label the show does not sell is left out."""
        ...

    async def claim(
        self, show_id: UUID, labels: Sequence[str], booking_id: UUID
    ) -> Claimed | Taken:
        """Claim free seats, all or nothing; a caller told ``Taken`` must roll back."""
        ...

    async def line_up(self, show_id: UUID, labels: Sequence[str]) -> None:
        """Lock the rows of these labels in the order in which a claim meets them."""
        ...

    async def active(self, show_id: UUID, labels: Sequence[str] | None) -> list[ActiveClaim]:
        """Who stands on these seats (``None``: on any seat of the show)."""
        ...

    async def sell(self, booking_id: UUID) -> int:
        """Make the booking's held claims final; how many changed."""
        ...

    async def free(self, booking_id: UUID) -> list[str]:
        """Free the booking's held claims; their labels."""
        ...


class Payments(Protocol):
    async def open_attempt(self, booking_id: UUID) -> Attempt | None: ...

    async def latest_attempt(self, booking_id: UUID) -> Attempt | None: ...

    async def may_read(self, payment_id: UUID) -> bool:
        """Take this second's turn to read the payment at its provider."""
        ...

    async def attempts_with_open_session(self, booking_id: UUID) -> list[Attempt]: ...

    async def last_attempt_number(self, booking_id: UUID) -> int: ...

    async def add_attempt(self, attempt: Attempt) -> None: ...

    async def set_session(self, payment_id: UUID, session_id: str, checkout_url: str) -> None: ...

    async def raise_status(self, payment_id: UUID, status: str) -> bool:
        """Move up the lattice open < processing < failed < authorised < captured; did it move."""
        ...

    async def close_session(self, payment_id: UUID) -> bool:
        """The provider said that this page takes no more money; was that news."""
        ...

    async def attempt_by_session(self, provider: str, session_id: str) -> Attempt | None: ...

    async def record_receipt(
        self, attempt: Attempt, provider: str, payment: ProviderPayment
    ) -> tuple[Receipt, bool]:
        """Insert or raise what the provider said; whether anything is new."""
        ...

    async def receipt(self, receipt_id: UUID) -> Receipt | None: ...

    async def confirming_receipt(self, booking_id: UUID) -> Receipt | None: ...

    async def decide(self, receipt_id: UUID, verdict: Verdict) -> bool:
        """Write the verdict if there was none; whether this call wrote it."""
        ...

    async def add_refund(self, receipt: Receipt, *, refund_id: UUID, key: str) -> Refund: ...

    async def count_refunds(self, booking_id: UUID) -> int: ...

    async def refund_of(self, receipt_id: UUID) -> Refund | None: ...

    async def settle_refund(self, refund_id: UUID, *, status: str, reference: str) -> bool: ...

    async def set_status(self, payment_id: UUID, status: str) -> None: ...


class Outbox(Protocol):
    async def queue(
        self, *, booking_id: UUID, user_id: UUID, template: str, revision: int = 1
    ) -> None:
        """Queue a message; the same revision of a template is sent once."""
        ...


class Transaction(Protocol):
    """One open transaction; it commits when its ``async with`` block ends without an error."""

    @property
    def bookings(self) -> Bookings: ...
    @property
    def claims(self) -> SeatClaims: ...
    @property
    def payments(self) -> Payments: ...
    @property
    def outbox(self) -> Outbox: ...


class UnitOfWork(Protocol):
    def __call__(self) -> AbstractAsyncContextManager[Transaction]:
        """Begin; commit at the end of the block, roll back on any exception."""
        ...
