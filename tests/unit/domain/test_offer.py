"""Which seats are offered for those that were lost."""

from __future__ import annotations

from domain.booking import SeatPrice
from domain.offer import choose_instead
from domain.seatmap import Seat


def row(name: str, count: int, price_class: str, first: int, *attributes: str) -> list[Seat]:
    return [
        Seat(f"{name}{n}", "Stalls", name, n, first + n, n, 0, price_class, attributes)
        for n in range(1, count + 1)
    ]


HALL = [
    *row("A", 4, "standard", 0),
    *row("B", 4, "premium", 10),
    *row("W", 2, "standard", 20, "accessible"),
]


def lost(*labels: str, amount: int = 1200, ticket_type: str = "standard") -> list[SeatPrice]:
    classes = {seat.label: seat.price_class for seat in HALL}
    return [SeatPrice(label, classes[label], ticket_type, amount) for label in labels]


def labels(chosen: list[SeatPrice] | None) -> list[str] | None:
    return None if chosen is None else [seat.label for seat in chosen]


def test_the_first_neighbours_of_the_same_class_are_chosen() -> None:
    assert labels(choose_instead(lost("A1", "A2"), HALL, {"A1"})) == ["A2", "A3"]


def test_each_price_class_gets_its_own_seats() -> None:
    chosen = choose_instead(lost("A1", "B1", "B2"), HALL, {"A1", "B1"})
    assert labels(chosen) == ["A2", "B2", "B3"]


def test_each_seat_costs_what_the_one_cost_whose_place_it_takes() -> None:
    asked = [*lost("A1", amount=900, ticket_type="child"), *lost("A2", amount=1200)]
    chosen = choose_instead(asked, HALL, {"A1"})
    assert chosen is not None
    assert [(seat.ticket_type, seat.amount) for seat in chosen] == [
        ("child", 900),
        ("standard", 1200),
    ]


def test_never_fewer_never_apart_never_of_another_class() -> None:
    assert choose_instead(lost("A1", "A2"), HALL, {"A2", "A4"}) is None
    assert choose_instead(lost("A1", "B1"), HALL, {"B1", "B2", "B3", "B4"}) is None


def test_who_had_accessible_places_gets_accessible_places() -> None:
    assert labels(choose_instead(lost("W1"), HALL, {"W1"})) == ["W2"]
    assert choose_instead(lost("W1"), HALL, {"W1", "W2"}) is None


def test_a_seat_that_the_hall_lost_meanwhile_is_replaced_by_none() -> None:
    gone = SeatPrice("Z9", "standard", "standard", 1)
    assert choose_instead([*lost("A1"), gone], HALL, set()) is None
