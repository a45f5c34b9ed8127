"""Seats next to one another: what is found is right, and what is there is found."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from domain.seatmap import (
    Seat,
    adjacent_blocks,
    fewest_parts,
    free_runs,
    largest_block,
)

CLASSES = ("standard", "premium")


def seat(position: int, price_class: str = "standard", *, accessible: bool = False) -> Seat:
    attributes = ("accessible",) if accessible else ()
    x = float(position)
    return Seat(f"A{position}", "Stalls", "A", position, position, x, 0.0, price_class, attributes)


def first_block(runs: Iterable[list[Seat]], count: int) -> list[str] | None:
    return next(adjacent_blocks(runs, count), None)


@st.composite
def halls(draw: st.DrawFn) -> tuple[list[Seat], set[str]]:
    """Seats in reading order with aisles between some, and which of them are taken."""
    seats: list[Seat] = []
    taken: set[str] = set()
    position = 0
    for _ in range(draw(st.integers(0, 30))):
        position += draw(st.sampled_from([1, 1, 1, 2]))
        price_class = draw(st.sampled_from(CLASSES))
        one = seat(position, price_class, accessible=draw(st.integers(0, 9)) == 0)
        seats.append(one)
        if draw(st.booleans()):
            taken.add(one.label)
    return seats, taken


counts = st.integers(1, 10)
classes = st.sampled_from([None, *CLASSES])


@given(halls(), counts, classes, st.booleans())
def test_a_block_is_adjacent_free_and_of_the_right_kind(
    hall: tuple[list[Seat], set[str]], count: int, price_class: str | None, accessible: bool
) -> None:
    seats, taken = hall
    block = first_block(free_runs(seats, taken, price_class, accessible), count)
    if block is None:
        return
    by_label = {one.label: one for one in seats}
    found = [by_label[label] for label in block]
    assert len(block) == count
    assert [one.position for one in found] == list(
        range(found[0].position, found[0].position + count)
    )
    assert not taken & set(block)
    assert all(one.is_accessible == accessible for one in found)
    assert price_class is None or all(one.price_class == price_class for one in found)


@given(halls(), counts, classes, st.booleans())
def test_the_first_block_is_found_wherever_there_is_one(
    hall: tuple[list[Seat], set[str]], count: int, price_class: str | None, accessible: bool
) -> None:
    """Against the plainest search there is: try every place, seat by seat."""
    seats, taken = hall
    fits = {
        one.position: one.label
        for one in seats
        if one.label not in taken
        and one.is_accessible == accessible
        and price_class in (None, one.price_class)
    }

    def block_at(start: int, size: int) -> list[str] | None:
        places = range(start, start + size)
        return [fits[place] for place in places] if all(place in fits for place in places) else None

    blocks = [block for start in sorted(fits) if (block := block_at(start, count))]
    found = first_block(free_runs(seats, taken, price_class, accessible), count)
    assert found == (blocks[0] if blocks else None)
    sizes = [size for start in fits for size in range(1, len(fits) + 1) if block_at(start, size)]
    largest = largest_block(free_runs(seats, taken, price_class, accessible))
    assert largest == max(sizes, default=0)
    assert (found is None) == (largest < count)


@given(halls(), counts)
def test_no_two_blocks_share_a_seat(hall: tuple[list[Seat], set[str]], count: int) -> None:
    seats, taken = hall
    blocks = list(adjacent_blocks(free_runs(seats, taken), count))
    labels = [label for block in blocks for label in block]
    assert len(labels) == len(set(labels)) == count * len(blocks)
    assert all(
        first_block(free_runs(seats, taken | set(block)), count) != block for block in blocks
    )


@given(halls(), counts, classes, st.booleans())
def test_a_party_is_split_only_when_it_must_and_seated_whenever_it_can(
    hall: tuple[list[Seat], set[str]], count: int, price_class: str | None, accessible: bool
) -> None:
    seats, taken = hall
    free = [
        one.label
        for one in seats
        if one.label not in taken
        and one.is_accessible == accessible
        and price_class in (None, one.price_class)
    ]
    parts = fewest_parts(free_runs(seats, taken, price_class, accessible), count)
    assert (parts is None) == (len(free) < count)
    if parts is not None:
        assert len(set(parts)) == count
        assert set(parts) <= set(free)
        if largest_block(free_runs(seats, taken, price_class, accessible)) >= count:
            by_label = {one.label: one.position for one in seats}
            assert by_label[parts[-1]] - by_label[parts[0]] == count - 1


def test_a_split_leaves_large_blocks_whole_for_others() -> None:
    rows = ((1, 4), (6, 8), (10, 15))  # four, three and six next to one another
    seats = [seat(place) for first, last in rows for place in range(first, last + 1)]
    assert fewest_parts(free_runs(seats, set()), 9) == [
        f"A{n}" for n in (10, 11, 12, 13, 14, 15, 6, 7, 8)
    ]
    assert fewest_parts(free_runs(seats, set()), 3) == ["A6", "A7", "A8"]


def test_an_aisle_parts_neighbours() -> None:
    seats = [seat(1), seat(2), seat(4), seat(5), seat(6)]
    assert first_block(free_runs(seats, set()), 3) == ["A4", "A5", "A6"]
    assert first_block(free_runs(seats, {"A5"}), 3) is None
    assert largest_block(free_runs(seats, {"A5"})) == 2


def test_accessible_places_are_kept_for_those_who_ask() -> None:
    seats = [seat(1, accessible=True), seat(2), seat(3)]
    assert first_block(free_runs(seats, set()), 1) == ["A2"]
    assert first_block(free_runs(seats, set(), accessible=True), 1) == ["A1"]
    assert first_block(free_runs(seats, set()), 3) is None


def test_an_empty_hall_has_no_block() -> None:
    assert first_block(free_runs([], set()), 1) is None
    assert largest_block(free_runs([], set())) == 0
