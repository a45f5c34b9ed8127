"""What cancelling a show needs of the tables; ``services.ports`` has the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from domain.events import Event
from domain.show_cancel import Left, Plan, Report


@dataclass(frozen=True, slots=True)
class CancelShow:
    """Who cancels which show, and why. ``actor`` is a user id or ``operator:<name>``."""

    show_id: UUID
    reason: str
    actor: str
    request_id: str | None


@dataclass(frozen=True, slots=True)
class ShortRefund:
    booking_id: UUID
    number: int


@dataclass(frozen=True, slots=True)
class Leftover:
    """A booking that keeps its money, or of which only a disputed payment has to go back yet."""

    booking_id: UUID
    waits_for_bank: bool


class Shows(Protocol):
    """Shows that are cancelled."""

    async def cancel(self, show_id: UUID) -> bool | None:
        """Stop the sale for good, after every hold under way; False: before, None: no such show."""
        ...

    async def plan(self, show_id: UUID, *, refunds_per_second: float) -> Plan | None:
        """What cancelling the show would do now; None when there is no such show."""
        ...

    async def add(self, wish: CancelShow, plan: Plan) -> bool:
        """Write the cancellation down; False when there is one."""
        ...

    def happened(self, show_id: UUID, event: Event, *, actor: str, request_id: str | None) -> None:
        """The first event of the show's own stream."""
        ...

    async def was_told(self, booking_id: UUID) -> bool:
        """Whether the buyer of this booking was told that the show is cancelled."""
        ...

    async def free_sold(self, booking_id: UUID) -> list[str]:
        """Free the booking's sold claims; their labels."""
        ...

    async def open_bookings(self, show_id: UUID, after: UUID | None) -> Sequence[UUID]:
        """Holds of the show by id, at most 100."""
        ...

    async def refundable(self, show_id: UUID, after: UUID | None) -> Sequence[UUID]:
        """Confirmed bookings whose refund was not refused before, by id, at most 100."""
        ...

    async def short(self, show_id: UUID) -> ShortRefund | None:
        """The refund that waits longest for the provider's balance."""
        ...

    async def left(self, show_id: UUID) -> Left: ...

    async def leftovers(self, show_id: UUID) -> Sequence[Leftover]:
        """What nobody refunded and no case of the cancellation names, at most 100."""
        ...

    async def report(self, show_id: UUID) -> Report: ...

    async def pause(self, show_id: UUID, why: str | None) -> bool:
        """Write why the run waits, or that it goes on; False when that was known."""
        ...

    async def was_noted(self, show_id: UUID, wish: str) -> bool:
        """Whether what an operator asked under this id is in the audit log; one asks at a time."""
        ...

    async def finish(self, show_id: UUID, report: Report) -> None:
        """Keep the report, unless there is one."""
        ...
