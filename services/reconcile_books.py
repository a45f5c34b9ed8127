"""What a reconciliation reads of our side, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.reconcile import Booked, BookedRefund

TOLD_AT_MOST = 100  # of each kind: old cases must not hide what was repaired


@dataclass(slots=True)
class Tally:
    """How a run went. ``left`` could not be repaired: each has a case. ``told`` names them."""

    compared: int = 0
    repaired: int = 0
    left: int = 0
    told: list[str] = field(default_factory=list)

    def note(self, what: str, *, repaired: bool) -> None:
        self.repaired += repaired
        self.left += not repaired
        if (self.repaired if repaired else self.left) <= TOLD_AT_MOST:
            self.told.append(f"{'repaired' if repaired else 'left'}: {what}")


@dataclass(slots=True)
class Checkpoint:
    """Where a run stands, so that the next worker goes on from there; times are ISO 8601.

    ``failed`` are payments that could not be compared and are tried once more at the end;
    ``silent`` counts those in a row for which the provider did not answer.
    """

    since: str
    started: str
    cursor: str | None = None
    listed: bool = False
    tally: Tally = field(default_factory=Tally)
    failed: list[str] = field(default_factory=list)
    silent: int = 0


class ProviderBooks(Protocol):
    """Our side of the comparison."""

    async def window(self, provider: str) -> tuple[datetime, datetime | None]:
        """The database clock, and until when everything was compared before."""
        ...

    async def booked(self, provider: str, references: Sequence[str]) -> Mapping[str, Booked]:
        """What we have of these payments; those that we do not have are not in it."""
        ...

    async def looked_at(self, read: Sequence[Booked]) -> None:
        """These were compared with the provider; not so those that changed since they were read."""
        ...

    async def suspects(self, provider: str) -> Sequence[str]:
        """Our payments that no list has shown yet; those with a refund under way, or a dispute."""
        ...

    async def refunds(self, receipt_id: UUID) -> Sequence[BookedRefund]: ...

    async def overdue(self, provider: str) -> Sequence[BookedRefund]:
        """Refunds whose outcome nobody knows after a day, and those that a bank never settles."""
        ...

    async def finish(self, provider: str, watermark: datetime, tally: Tally) -> None: ...
