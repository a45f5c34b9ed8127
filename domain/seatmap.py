"""Seats of an auditorium and which of them are next to one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def first_adjacent_block(
    seats: Sequence[Seat],
    taken: AbstractSet[str],
    count: int,
    price_class: str | None = None,
    accessible: bool = False,
) -> list[str] | None:
    """The first of the ``adjacent_blocks``, if there are any."""
    return next(adjacent_blocks(seats, taken, count, price_class, accessible), None)


def adjacent_blocks(
    seats: Sequence[Seat],
    taken: AbstractSet[str],
    count: int,
    price_class: str | None = None,
    accessible: bool = False,
) -> Iterator[list[str]]:
    """Blocks of ``count`` free seats next to one another, in reading order; none has another's.

    Accessible places are given only to those who ask for them.
    """
    for run in _runs(seats, taken, price_class, accessible):
        for at in range(0, len(run) - count + 1, count):
            yield [seat.label for seat in run[at : at + count]]


def fewest_parts(
    seats: Sequence[Seat],
    taken: AbstractSet[str],
    count: int,
    price_class: str | None = None,
    accessible: bool = False,
) -> list[str] | None:
    """``count`` free seats in few blocks, if there are so many: the largest ones first.

    The last part is taken from the smallest block that has room for it.
    """
    runs = sorted(_runs(seats, taken, price_class, accessible), key=len)
    if sum(map(len, runs)) < count:
        return None
    chosen: list[str] = []
    while (rest := count - len(chosen)) > 0:
        roomy = (at for at, run in enumerate(runs) if len(run) >= rest)
        run = runs.pop(next(roomy, -1))
        chosen += [seat.label for seat in run[:rest]]
    return chosen


def largest_block(
    seats: Sequence[Seat],
    taken: AbstractSet[str],
    price_class: str | None = None,
    accessible: bool = False,
) -> int:
    """How many free seats next to one another there are at most."""
    return max((len(run) for run in _runs(seats, taken, price_class, accessible)), default=0)


def _runs(
    seats: Sequence[Seat], taken: AbstractSet[str], price_class: str | None, accessible: bool
) -> Iterator[list[Seat]]:
    run: list[Seat] = []
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
