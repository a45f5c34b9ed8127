"""Seats of an auditorium and which of them are next to one another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seat:
    """One seat. ``position`` is its place in reading order; neighbours differ by exactly one,
    so an aisle or the end of a row leaves a gap in the numbers. ``x`` and ``y`` are in seats.
    """

    label: str
    section: str
    row: str
    number: int
    position: int
    x: float
    y: float
    price_class: str
    attributes: tuple[str, ...] | list[str] = ()

    @property
    def is_accessible(self) -> bool:
        return "accessible" in self.attributes


Run = list[Seat]


def free_runs(
    seats: Sequence[Seat],
    taken: AbstractSet[str],
    price_class: str | None = None,
    accessible: bool = False,
) -> Iterator[Run]:
    """Free seats next to one another, each run as long as it can be, in reading order.

    Accessible places are given only to those who ask for them.
    """
    run: Run = []
    for seat in seats:
        fits = (
            seat.label not in taken
            and price_class in (None, seat.price_class)
            and seat.is_accessible == accessible
        )
        if run and (not fits or seat.position != run[-1].position + 1):
            yield run
            run = []
        if fits:
            run.append(seat)
    if run:
        yield run


def adjacent_blocks(runs: Iterable[Run], count: int) -> Iterator[list[str]]:
    """Blocks of ``count`` neighbours, in reading order; none has another's seat."""
    for run in runs:
        for at in range(0, len(run) - count + 1, count):
            yield [seat.label for seat in run[at : at + count]]


def fewest_parts(runs: Iterable[Run], count: int) -> list[str] | None:
    """``count`` seats in few blocks, if there are so many: the largest ones first.

    The last part is taken from the smallest block that has room for it.
    """
    by_size = sorted(runs, key=len)
    if sum(map(len, by_size)) < count:
        return None
    chosen: list[str] = []
    while (rest := count - len(chosen)) > 0:
        roomy = (at for at, run in enumerate(by_size) if len(run) >= rest)
        run = by_size.pop(next(roomy, -1))
        chosen += [seat.label for seat in run[:rest]]
    return chosen


def largest_block(runs: Iterable[Run]) -> int:
    """How many seats next to one another there are at most."""
    return max(map(len, runs), default=0)
