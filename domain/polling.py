"""When an open payment is read again at its provider: often at first, then ever less."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class PollStep:
    """While a pay page is younger than ``until``, it is read ``every`` so often."""

    until: timedelta
    every: timedelta


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """``first`` after checkout; ``uncertain`` apart once the seats of an open page went free.

    A page older than ``gives_up`` is not read any more.

    Raises:
        ValueError: the steps do not go on, slower each time, until the end.
    """

    first: timedelta
    steps: tuple[PollStep, ...]
    uncertain: timedelta
    gives_up: timedelta

    def __post_init__(self) -> None:
        ends = [step.until for step in self.steps]
        paces = [step.every for step in self.steps]
        rising = all(a < b for row in (ends, paces) for a, b in itertools.pairwise(row))
        if not ends or not rising or ends[-1] != self.gives_up or paces[0] <= timedelta(0):
            raise ValueError("each step must last longer and be slower than the one before")


# By the first poll a webhook that will come has mostly come; most buyers pay within 3 minutes.
SCHEDULE = PollSchedule(
    first=timedelta(seconds=30),
    steps=(
        PollStep(timedelta(minutes=3), timedelta(seconds=30)),
        PollStep(timedelta(minutes=15), timedelta(minutes=2)),
        PollStep(timedelta(days=7), timedelta(minutes=5)),
    ),
    uncertain=timedelta(hours=1),
    gives_up=timedelta(days=7),
)
