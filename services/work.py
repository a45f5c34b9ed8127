"""What the loops take from PostgreSQL: rows that wait for somebody, each under a lease."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from domain.steps import BookingInput
from services.payment_rows import Attempt


@dataclass(frozen=True, slots=True)
class InboxRow:
    """A webhook; ``age_seconds`` since it was received, by the database clock.

    ``failures``: so often the work on it broke. ``set_aside``: why it was stored for a person
    only, never to be acted on.
    """

    id: int
    provider: str
    event_id: str
    event_type: str
    body: bytes
    attempts: int
    request_id: str | None
    age_seconds: float = 0.0
    failures: int = 0
    set_aside: str | None = None


@dataclass(frozen=True, slots=True)
class HoldLimits:
    """The part of a booking's brief that is configuration, for processes started again."""

    hold_seconds: int
    hold_max_seconds: int
    grace_seconds: int
    payment_retry_seconds: float
    max_seats_per_user_show: int
    max_live_holds_per_user: int
    max_lapsed_holds: int = 0
    max_cancelled_holds_per_show: int = 0
    cool_down_seconds: int = 3600
    settling_grace_seconds: int = 0


@dataclass(frozen=True, slots=True)
class LateLimits:
    """What late money is judged by: ``window_seconds`` after the hold's end, 0 for never."""

    window_seconds: int
    offer_seconds: int
    max_seats_per_user_show: int


class WorkQueue(Protocol):
    """What is found comes oldest first; ``skip`` leaves out so many of the oldest."""

    async def take_inbox(self, limit: int) -> Sequence[InboxRow]:
        """Take due webhooks, oldest first; others skip them until the lease ends."""
        ...

    async def finish_inbox(self, row_ids: Sequence[int]) -> None:
        """These are done with."""
        ...

    async def quarantine_inbox(self, row_id: int, *, reason: str) -> None:
        """Keep it for a person: it cannot be matched with anything of ours."""
        ...

    async def put_back_inbox(
        self, row_id: int, *, seconds: float, reason: str, failed: bool = False
    ) -> None:
        """Let it wait so long; ``failed`` counts it as one that broke the work on it."""
        ...

    async def take_polls(self, limit: int) -> Sequence[Attempt]:
        """Take payments that are due to be read again; their next time is set at once."""
        ...

    async def booking_input(self, booking_id: UUID) -> BookingInput | None:
        """The brief of an open booking, for a process that has to be started again."""
        ...

    async def overdue_bookings(
        self, *, seconds: float, limit: int, skip: int = 0
    ) -> Sequence[UUID]:
        """Open bookings whose hold ended, or began to close, more than ``seconds`` ago."""
        ...

    async def settle_dead_requests(self) -> int:
        """Refuse requests too old for any hold step to take; how many."""
        ...

    async def sweep(self) -> int:
        """Delete what is of no more use to anybody, at most 1,000 of each kind; the most of one."""
        ...

    async def undecided_captures(
        self, *, seconds: float, limit: int, skip: int = 0
    ) -> Sequence[UUID]:
        """Captured provider payments without a verdict for that long, and no offer to decide on."""
        ...

    async def overdue_offers(self, *, seconds: float, limit: int, skip: int = 0) -> Sequence[UUID]:
        """Provider payments whose offer ended that long ago and stands open all the same."""
        ...

    async def open_promises(self, *, seconds: float, limit: int, skip: int = 0) -> Sequence[UUID]:
        """Authorised provider payments that for so long were neither taken nor let go."""
        ...

    async def pending_refunds(self, *, seconds: float, limit: int, skip: int = 0) -> Sequence[UUID]:
        """Provider payments whose refund was decided that long ago and is not settled."""
        ...

    async def unfinished_cancellations(
        self, *, seconds: float, limit: int, skip: int = 0
    ) -> Sequence[tuple[UUID, str | None]]:
        """Shows cancelled that long ago and not done with, and why their run was paused."""
        ...

    async def asked_refunds(
        self, *, seconds: float, limit: int, skip: int = 0
    ) -> Sequence[tuple[UUID, int]]:
        """Bookings and numbers of refunds asked for that long ago and not settled."""
        ...
