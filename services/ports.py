"""What the services need from the outside: one transaction and the tables in it, by noun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

from domain.booking import Booking, SeatPrice
from domain.case import Case, CaseKind
from domain.events import Event
from domain.ledger import Posting
from domain.money import Money
from domain.payment import ProviderPayment, Verdict
from domain.refund import RefundPart, Standing
from domain.steps import BookingInput, SeatChoice
from services.dispute_port import Disputes
from services.offer import Offers
from services.payment_rows import Attempt, Receipt
from services.preclaim import ActiveClaim
from services.show_ports import Shows

T_co = TypeVar("T_co", covariant=True)


class Soon(Protocol[T_co]):
    """What was asked to come with the next call that is awaited: a round trip saved."""

    @property
    def value(self) -> T_co:
        """Raises RuntimeError before that call came back."""


@dataclass(frozen=True, slots=True)
class HoldContext:
    """What a hold is judged by, read in one statement under the user's advisory lock.

    ``request_age_seconds`` is by the database clock, read as ``now``; ``user_is_gone`` when the
    account was erased, which waits for this lock as holds do; ``seats_of_user`` counts
    this user's live and confirmed seats of the show; ``lapsed_holds_of_user`` and
    ``cancelled_holds_of_user_show`` the unpaid holds that came to nothing within the brief's
    ``cool_down_seconds``; ``has_lapsed_hold`` says that a hold that ran out stands on an asked
    seat; ``prices`` leaves out the seats that the show does not sell.
    """

    request_age_seconds: float | None
    request_outcome: str | None
    request_refusal: Mapping[str, Any] | None
    user_is_gone: bool
    show_status: str
    sales_open: bool
    currency: str
    seats_of_user: int
    live_holds_of_user: int
    lapsed_holds_of_user: int
    cancelled_holds_of_user_show: int
    has_lapsed_hold: bool
    prices: Mapping[str, SeatPrice]
    now: datetime


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """``outcome`` is ``held``, ``rejected`` (with the ``refusal``) or not known yet.

    ``seats`` are those that were written down, ``user_id`` whose request it is; none for a
    request that was not there before.
    ``key_is_over``: so old that its Idempotency-Key is not honoured any more.
    """

    outcome: str | None
    refusal: Mapping[str, Any] | None = None
    seats: Sequence[SeatChoice] = ()
    user_id: UUID | None = None
    key_is_over: bool = False


@dataclass(frozen=True, slots=True)
class Claimed:
    """Every asked seat is now this booking's; ``fences`` by label."""

    fences: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Taken:
    """No seat was claimed; these are in the way."""

    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refund:
    """A row of ``refunds`` that nobody asked for: a payment that goes back whole.

    ``is_accepted``: the provider took it under its key, and has not said how it ended.
    """

    id: UUID
    booking_id: UUID
    reference: str
    provider: str
    idempotency_key: str
    status: str
    amount: Money
    tries: int = 0
    is_accepted: bool = False


class Bookings(Protocol):
    async def hold_context(self, input: BookingInput) -> HoldContext:
        """Take the user's advisory lock and the request's row lock, then read."""

    def add(
        self,
        booking: Booking,
        seats: Sequence[SeatPrice],
        events: Sequence[Event],
        *,
        actor: str,
        request_id: str | None,
    ) -> None:
        """Insert the booking as it is after its first events; its request's outcome is ``held``."""

    def lock_user(self, user_id: UUID, show_id: UUID) -> None:
        """Take the locks of a hold, before any booking's: they guard the limits and the sale."""

    async def lock(self, booking_id: UUID) -> Booking | None:
        """The row under ``FOR UPDATE``, with the database clock read after the lock came."""

    def lock_soon(self, booking_id: UUID) -> Soon[Booking | None]:
        """``lock``, taken before what the next awaited call reads."""

    async def peek(self, booking_id: UUID) -> Booking | None:
        """The row without a lock: good for answers, not for decisions."""

    async def lock_lapsed(self, show_id: UUID, labels: Sequence[str]) -> list[Booking]:
        """Lock, in id order, the lapsed holds that stand on these seats and may be taken over."""

    async def seats(self, booking_id: UUID) -> tuple[UUID, list[str]]:
        """The booking's show and its labels, in order."""

    def seats_soon(self, booking_id: UUID) -> Soon[tuple[UUID, list[str]]]: ...

    async def was_extended(self, booking_id: UUID, extension_id: str) -> bool:
        """Whether this extension is written; ask under the booking's lock."""

    def record(
        self,
        booking: Booking,
        events: Sequence[Event],
        *,
        actor: str,
        request_id: str | None,
        **changes: Any,
    ) -> Booking:
        """Write ``changes``, version + 1 and the events; the version must be as it was read."""

    async def add_request(
        self, input: BookingInput, *, key_hash: bytes | None, body_hash: bytes
    ) -> RequestOutcome:
        """Insert the request unless it is there; what is known of its outcome."""

    async def request_outcome(self, booking_id: UUID) -> RequestOutcome: ...

    async def requests(self, booking_ids: Sequence[UUID]) -> Mapping[UUID, RequestOutcome]:
        """Those of the requests that are written down."""

    def reject_request(self, booking_id: UUID, refusal: Mapping[str, Any]) -> None:
        """Write the refusal as the request's outcome, unless it has one."""


class SeatClaims(Protocol):
    async def claim(
        self, show_id: UUID, labels: Sequence[str], booking_id: UUID
    ) -> Claimed | Taken:
        """Claim free seats, all or nothing; a caller told ``Taken`` must roll back."""

    def line_up(self, show_id: UUID, labels: Sequence[str]) -> None:
        """Lock the rows of these labels in the order in which a claim meets them."""

    async def active(self, show_id: UUID, labels: Sequence[str] | None) -> list[ActiveClaim]:
        """Who stands on these seats (``None``: on any seat of the show)."""

    def sell(self, booking_id: UUID, *, count: int) -> None:
        """Make the booking's held claims final; without exactly ``count`` of them it all fails."""

    async def free(self, booking_id: UUID, *, count: int) -> list[str]:
        """Free the booking's held claims; their labels. Without just ``count`` of them it fails."""


class Payments(Protocol):
    async def attempts(self, booking_id: UUID) -> list[Attempt]:
        """Every attempt of the booking, oldest first."""

    async def latest_attempt(self, booking_id: UUID) -> Attempt | None: ...

    async def may_read(self, payment_id: UUID) -> bool:
        """Take this second's turn to read the payment at its provider."""

    def add_attempt(self, attempt: Attempt) -> None: ...

    async def set_session(
        self, payment_id: UUID, session_id: str, checkout_url: str
    ) -> tuple[Attempt, bool]:
        """Write down where the attempt is paid: as it stands, and False where that was known."""

    def raise_status(self, payment_id: UUID, status: str) -> None:
        """Move up the order of ``domain.payment_status``; a lower one changes nothing."""

    async def fail(self, payment_id: UUID) -> bool:
        """Raise the status to ``failed``; whether it moved."""

    def close_session(self, payment_id: UUID) -> None:
        """The provider said that this page takes no more money."""

    def reopen_session(self, payment_id: UUID) -> None:
        """It was closed unpaid, and the provider says that money is on its way all the same."""

    async def attempt(self, payment_id: UUID) -> Attempt:
        """Raises LookupError when there is none."""

    async def attempt_by_session(self, provider: str, session_id: str) -> Attempt | None: ...

    async def record_receipt(
        self, attempt: Attempt, provider: str, payment: ProviderPayment
    ) -> tuple[Receipt, bool]:
        """Insert or raise what the provider said; whether anything is new."""

    async def set_unasked(
        self, receipt_id: UUID, unasked: int, *, listed: int, seen: datetime
    ) -> bool:
        """Write what the list of refunds says, more or less; False if it changed since ``seen``."""

    def raise_fee(self, receipt_id: UUID, fee: int) -> None:
        """The provider keeps ``fee`` minor units of this payment; it never lowers what is known."""

    async def receipt(self, receipt_id: UUID) -> Receipt | None: ...

    async def unjudged(self, booking_id: UUID) -> UUID | None:
        """The oldest payment of the booking, taken or promised, that has no verdict."""

    def decide(self, receipt_id: UUID, verdict: Verdict) -> None:
        """Write the verdict if there was none."""

    async def add_refund(self, receipt: Receipt, *, refund_id: UUID, key: str) -> Refund: ...

    async def count_voids(self, booking_id: UUID) -> int:
        """How many authorised payments of the booking were let go, or are to be."""

    async def count_refunds(self, booking_id: UUID) -> int: ...

    async def refund_of(self, receipt_id: UUID) -> Refund | None: ...

    async def settle_refund(self, refund_id: UUID, *, status: str, reference: str) -> bool: ...


class Ledger(Protocol):
    def post(self, posting: Posting) -> None:
        """Append the posting; one that is there already changes nothing."""

    def close(self, booking_id: UUID) -> None:
        """At a workflow's end, under its lock: a case, unless all decided money is even."""


class Refunds(Protocol):
    """Refunds that somebody asked for; every call is under the booking's lock but ``parts``."""

    async def standing(self, booking_id: UUID) -> Standing | None:
        """Seats, payments and refunds of a booking; None when there is no such booking."""

    async def parts(self, booking_id: UUID, number: int) -> Sequence[RefundPart]: ...

    async def add(self, booking_id: UUID, parts: Sequence[RefundPart], **told: Any) -> None:
        """Insert the parts, each out of its payment; ``told`` are ``reason`` and ``note``."""

    async def accept(
        self, refund_id: UUID, reference: str, tries: int = 0, *, is_found: bool = False
    ) -> bool:
        """Write the provider's id of the pending try number ``tries``; False: not that one now.

        ``is_found``: it was sent before, by somebody who died before telling, and is met now. It is
        written as accepted when the refund was made, for since then it may have been.
        """

    async def try_again(self, refund_id: UUID, reference: str | None, tries: int) -> bool:
        """Give a pending refund, whose try failed at the provider, a new key for the next one.

        False when this is not the try with number ``tries`` any more.
        """

    async def came_back(self, refund_id: UUID) -> bool:
        """A settled refund failed after all; False when it does not stand as settled."""

    def short(self, refund_id: UUID, *, is_short: bool) -> None:
        """Whether the provider's balance was too low for a part that it has not accepted."""

    async def settle(self, refund_id: UUID, status: str) -> bool:
        """End a pending part; False when it has ended."""

    async def release(self, booking_id: UUID, labels: Sequence[str]) -> list[str]:
        """Put sold seats of the booking back on sale; their labels."""

    async def place(self, refund_id: UUID) -> int:
        """The refund's place among all of its booking's refunds, from 1."""


class Outbox(Protocol):
    def queue(self, *, booking_id: UUID, user_id: UUID, template: str, revision: int = 1) -> None:
        """Queue a message; the same revision of a template is sent once."""


class Cases(Protocol):
    def open(
        self,
        kind: CaseKind,
        *,
        dedupe: str,
        summary: str,
        booking_id: UUID | None = None,
        provider_payment_id: UUID | None = None,
        refund_id: UUID | None = None,
    ) -> None:
        """Open a case, unless one with this ``dedupe`` was ever opened; its booking names it.

        The caller holds the booking's lock. ``summary`` has ids and amounts, no person's data.
        """

    async def find(self, case_id: UUID) -> Case | None: ...

    async def is_staff(self, user_id: UUID) -> bool:
        """Whether this account may be given cases."""

    async def assign(self, case: Case, assignee: UUID) -> bool:
        """False: the version is not the one that was read, or the case is resolved."""

    async def resolve(self, case: Case, resolution: str) -> bool:
        """As ``assign``; the booking then names its newest case that is not resolved, if any."""


class Audit(Protocol):
    def note(
        self,
        action: str,
        *,
        target: str,
        actor: str,
        reason: str | None = None,
        details: Mapping[str, Any] | None = None,
        request_id: str | None = None,
    ) -> None:
        """Write down who did what to what, and why; ``target`` is ``noun:id``."""


class Transaction(Protocol):
    """One open transaction; it commits when its ``async with`` block ends without an error.

    A method that is not awaited puts its write off: it is made, in order, with the next one that
    is, and before the commit at the latest. Then it may raise what the database says of it.
    """

    @property
    def bookings(self) -> Bookings: ...
    @property
    def claims(self) -> SeatClaims: ...
    @property
    def payments(self) -> Payments: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def refunds(self) -> Refunds: ...
    @property
    def disputes(self) -> Disputes: ...
    @property
    def offers(self) -> Offers: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def cases(self) -> Cases: ...
    @property
    def audit(self) -> Audit: ...
    @property
    def shows(self) -> Shows: ...


class UnitOfWork(Protocol):
    def __call__(self) -> AbstractAsyncContextManager[Transaction]:
        """Begin; commit at the end of the block, roll back on any exception."""

    def alone(self) -> AbstractAsyncContextManager[Transaction]:
        """The same tables, each call a transaction of its own: for a single read or write."""
