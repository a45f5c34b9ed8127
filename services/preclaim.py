"""The port to the fast copy of a show's seat claims, where losers are turned away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID


class PreclaimsAway(Exception):
    """The fast copy cannot answer now; ask PostgreSQL instead. Nothing is known to be changed."""


@dataclass(frozen=True, slots=True)
class Won:
    """The labels are this token's for a lease; ``epoch`` tells whether seats were freed since."""

    labels: tuple[str, ...]
    token: UUID
    epoch: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Nothing was claimed; these of the asked labels are somebody else's, in the asked order."""

    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotLoaded:
    """Nothing is known of the show: ``load`` it and ask again."""


@dataclass(frozen=True, slots=True)
class ActiveClaim:
    """One seat that PostgreSQL says is not available.

    Args:
        booking_id: who has it; None only for ``blocked``.
        ttl_seconds: how long a ``held`` mark may stand at most, None only for the other states.
            Not above 0: the claim is dead and the seat counts as free.

    Raises:
        ValueError: the state and the other fields do not fit together.
    """

    label: str
    booking_id: UUID | None
    state: Literal["held", "sold", "blocked"]
    ttl_seconds: int | None

    def __post_init__(self) -> None:
        if (self.booking_id is None) is not (self.state == "blocked"):
            raise ValueError("a blocked seat has no booking, every other claim has one")
        if (self.ttl_seconds is None) is (self.state == "held"):
            raise ValueError("a held claim has a time to live, every other claim has none")


class SeatPreclaims(Protocol):
    """A copy of the seat claims that is fast and may be wrong; PostgreSQL decides.

    ``token`` is the booking's id. Every method may be repeated with the same arguments, and every
    method raises :class:`PreclaimsAway` when the copy is away or too slow to be of use.
    """

    async def claim(
        self, show_id: UUID, labels: Sequence[str], token: UUID
    ) -> Won | Lost | NotLoaded:
        """Take every label for ``PRECLAIM_LEASE_SECONDS``, or none of them.

        The token's own seats count as won; a longer life that they have is not shortened.
        """
        ...

    async def load(
        self,
        show_id: UUID,
        read_claims: Callable[[Sequence[str] | None], Awaitable[Sequence[ActiveClaim]]],
    ) -> None:
        """Copy the show's claims, unless that was done a moment ago; callers at once share a read.

        From then on, for a while, what has no mark counts as free; then it is to be loaded again.

        ``read_claims`` reads what is committed, of these labels or of all, and may be called again
        when seats are freed meanwhile. What it raises is raised to every caller that waits.
        """
        ...

    async def promote(
        self, show_id: UUID, labels: Sequence[str], token: UUID, ttl_seconds: int
    ) -> None:
        """The hold is durable: keep its marks for ``ttl_seconds``, made anew where they were lost.

        Somebody else's mark and any sold mark stay. Call it before anybody can release the hold:
        after a ``release`` it would mark seats that are free.
        """
        ...

    async def sell(self, show_id: UUID, labels: Sequence[str], token: UUID) -> None:
        """The booking is confirmed: mark its seats sold; somebody else's sold mark stays.

        The same order holds as for ``promote``. The mark stands until ``release``, as long as each
        load finds the seat sold; one that was made after a ``release`` ends by itself.
        """
        ...

    async def release(self, show_id: UUID, labels: Sequence[str], token: UUID) -> None:
        """Delete the token's marks, sold ones too; call it after the seats are free for good.

        Repeat it until it succeeds: a sold mark that is left keeps the seat off sale for a while.
        """
        ...

    async def forget(self, show_id: UUID, labels: Sequence[str], token: UUID) -> None:
        """``release``, and nothing is believed of the show until it is loaded again.

        For when the copy has missed something: whatever became of the seats, it is right to call.
        Repeat it until it succeeds: until then a seat that is sold may look free.
        """
        ...

    async def write_back(self, show_id: UUID, won: Won, taken: Sequence[ActiveClaim]) -> None:
        """Give up the leases of ``won`` and mark ``taken`` for who has them.

        For when PostgreSQL refused it, or knew the booking and what became of it.

        ``taken`` must be read after ``won`` was returned. It is not written when any seat of the
        show was freed since, for it may be stale then.
        """
        ...

    async def taken(self, show_id: UUID, labels: Sequence[str]) -> set[str] | NotLoaded:
        """Which of ``labels`` are not available, to anybody."""
        ...
