"""Telling partners: what is taken to be sent, and what follows from how a try went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from domain.partner import GIVE_UP_SECONDS, DeliveryState, DisabledReason, pause_seconds


@dataclass(frozen=True, slots=True)
class Taken:
    """A delivery that is ours until its lease ends.

    ``number`` counts its tries over all its life, this one too; ``attempts`` and ``age_seconds``
    since it was last due; ``failing_seconds`` is how long its endpoint has taken nothing, None
    while it takes. ``secrets`` are sealed, the current one first.
    """

    id: UUID
    endpoint_id: UUID
    number: int
    attempts: int
    age_seconds: float
    failing_seconds: float | None
    url: str
    secrets: tuple[bytes, ...]
    webhook_id: str
    body: str


@dataclass(frozen=True, slots=True)
class Tried:
    """How a try went: the receiver's ``status``, or the ``error`` that there was instead."""

    status: int | None
    error: str | None = None
    retry_after: float | None = None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is recorded; ``wait_seconds`` only where another try follows."""

    state: DeliveryState
    reason: str | None = None
    wait_seconds: float | None = None
    disable: DisabledReason | None = None


class Sender(Protocol):
    async def send(self, taken: Taken) -> Tried:
        """Sign and send; whatever goes wrong on the way is the answer's ``error``."""
        ...


class DeliveryQueue(Protocol):
    async def take(
        self, limit: int, *, busy: Mapping[UUID, int], per_endpoint: int, lease_seconds: float
    ) -> Sequence[Taken]:
        """Take due deliveries, at most so many of an endpoint beside those that are ``busy``.

        Of one that is failing there is one at a time. Others skip what is taken until the lease
        ends.
        """
        ...

    async def record(self, taken: Taken, tried: Tried, outcome: Outcome, *, seconds: float) -> bool:
        """Log the try, which took ``seconds``, and write what follows.

        False if its lease ran out: then it is only logged.
        """
        ...


class PartnerFeed(Protocol):
    async def project(self) -> int:
        """Take over the next events into the feed and owe them to endpoints; how many.

        Before that, endpoints whose accounts may not hear them are disabled.
        """
        ...

    async def sweep(self) -> int:
        """Delete what is older than the log is kept, at most 1,000 events; how many.

        Secrets that were rotated away and sign nothing any more go too.
        """
        ...


GONE = 410


def after(taken: Taken, tried: Tried, *, chance: float) -> Outcome:
    """What follows from a try. ``chance`` in [0, 1) is for the jitter."""
    if tried.is_success:
        return Outcome(DeliveryState.DELIVERED)
    if tried.status == GONE:
        return Outcome(DeliveryState.FAILED, "the endpoint is gone", disable=DisabledReason.GONE)
    disable = None
    if taken.failing_seconds is not None and taken.failing_seconds >= GIVE_UP_SECONDS:
        disable = DisabledReason.FAILING
    pause = pause_seconds(
        taken.attempts, taken.age_seconds, chance=chance, retry_after=tried.retry_after
    )
    if pause is None:
        return Outcome(DeliveryState.FAILED, "tried for three days", disable=disable)
    told = tried.error or f"answered {tried.status}"
    return Outcome(DeliveryState.PENDING, told, pause, disable)
