"""A cancelled show: what it would cost, what there is to do, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from domain.booking import OPEN_STATES

REASON = "show_cancelled"
"""Why a refund was made, and the template of what the buyer is told."""

BALANCE = "balance"
"""Why a run waits that the provider has too little of our money for."""

FIRST_PROBE_SECONDS = 60.0
LONGEST_PROBE_SECONDS = 3600.0


class Stage(StrEnum):
    HOLDS = "holds"
    REFUNDS = "refunds"
    SETTLING = "settling"
    FINISHED = "finished"


@dataclass(frozen=True)
class Sum:
    """``count`` refunds of ``amount`` minor units in all, at one provider in one currency."""

    provider: str
    currency: str
    count: int
    amount: int


@dataclass(frozen=True)
class Plan:
    """What cancelling would do; ``bookings`` by state, ``seconds`` at the configured rate."""

    bookings: Mapping[str, int]
    refunds: tuple[Sum, ...]
    refunds_per_second: float

    @property
    def holds(self) -> int:
        return sum(self.bookings.get(state, 0) for state in OPEN_STATES)

    @property
    def seconds(self) -> float:
        return seconds_for(sum(one.count for one in self.refunds), self.refunds_per_second)

    def as_json(self) -> dict[str, Any]:
        return {
            "bookings": dict(self.bookings),
            "holds": self.holds,
            "refunds": as_json(self.refunds),
            "refunds_per_second": self.refunds_per_second,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class Report:
    """What came of it. ``failed`` refunds and ``disputed`` bookings are in ``cases``, by id."""

    bookings: Mapping[str, int]
    holds_ended: int
    without_money: int
    refunded: tuple[Sum, ...] = ()
    pending: tuple[Sum, ...] = ()
    failed: tuple[Sum, ...] = ()
    already_refunded: tuple[Sum, ...] = ()
    cases: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "bookings": dict(self.bookings),
            "holds_ended": self.holds_ended,
            "without_money": self.without_money,
            "refunded": as_json(self.refunded),
            "pending": as_json(self.pending),
            "failed": as_json(self.failed),
            "already_refunded": as_json(self.already_refunded),
            "cases": list(self.cases),
        }


def as_json(sums: Iterable[Sum]) -> list[dict[str, Any]]:
    return [
        {
            "provider": one.provider,
            "count": one.count,
            "amount": {"amount": one.amount, "currency": one.currency},
        }
        for one in sums
    ]


def seconds_for(refunds: int, per_second: float) -> float:
    """How long so many refunds take; the timers of the run add up to it."""
    return refunds / per_second


@dataclass(frozen=True)
class ShowCancelInput:
    """The brief of a run, and what it carries over when it continues as a new one.

    ``paused`` is why it waits for an operator; ``after`` the last booking of this pass.
    """

    show_id: str
    refunds_per_second: float
    request_id: str | None = None
    bookings_per_run: int = 500
    first_probe_seconds: float = FIRST_PROBE_SECONDS
    paused: str | None = None
    stage: Stage = Stage.HOLDS
    after: str | None = None
    holds: int = 0
    refunds: int = 0


@dataclass(frozen=True)
class ShowStep:
    """``most`` is how many bookings, or refunds, the step may take on."""

    show_id: str
    after: str | None = None
    most: int = 1
    request_id: str | None = None


@dataclass(frozen=True)
class BatchDone:
    """``after`` is where to go on, None at the end. ``short``: the provider's balance is too low.

    ``refunds`` counts calls to the provider: a booking of two payments needs two. ``failed_tries``
    came before this one, and may have started some that nobody counted.
    """

    bookings: int
    refunds: int
    after: str | None
    short: bool = False
    failed_tries: int = 0


@dataclass(frozen=True)
class Left:
    """What of the show is not over: holds, refunds under way, and whether some are to start.

    ``untold``: some of the holds have not begun to end, for their process may not have heard.
    """

    open: int
    refundable: bool
    pending: int
    short: bool
    untold: bool = False

    @property
    def is_nothing(self) -> bool:
        return not (self.open or self.refundable or self.pending)


class Probe(StrEnum):
    """What came of one refund that waited for the balance; ``nothing``: none waits."""

    NOTHING = "nothing"
    SENT = "sent"
    SHORT = "short"


@dataclass(frozen=True)
class OperatorRequest:
    actor: str
    reason: str


@dataclass(frozen=True)
class PauseStep:
    """``why`` None resumes. ``by`` is None where the run itself pauses for the balance.

    ``wish`` is the id of what an operator asked: it is noted once, however often the step is run.
    """

    show_id: str
    why: str | None
    by: OperatorRequest | None = None
    request_id: str | None = None
    wish: str | None = None


@dataclass(frozen=True)
class ShowCancelView:
    """What an operator sees in a query."""

    show_id: str
    stage: Stage
    paused: str | None
    holds_told: int
    refunds_started: int
    story: str


@dataclass(frozen=True)
class ShowCancelResult:
    report: dict[str, Any] = field(default_factory=dict)
