"""The demo's theatres and the seats of their auditoriums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from domain.seatmap import Seat

ROW_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Hall:
    """A plain auditorium: ``rows`` by ``width`` seats, with aisles after some seats of a row."""

    name: str
    rows: int
    width: int
    aisles: tuple[int, ...]
    premium_rows: int = 2

    @property
    def capacity(self) -> int:
        return self.rows * self.width


@dataclass(frozen=True)
class Theatre:
    name: str
    city: str
    address: str
    timezone: str
    halls: tuple[Hall, ...]


THEATRES = (
    Theatre(
        "Lichtspielhaus am Ufer",
        "Berlin",
        "Uferstraße 12, 13357 Berlin",
        "Europe/Berlin",
        (
            Hall("Saal 1", 18, 25, (6, 19), 4),
            Hall("Saal 2", 12, 16, (4, 12)),
            Hall("Studio", 6, 10, (5,), 1),
        ),
    ),
    Theatre(
        "Kino Pankgraf",
        "Berlin",
        "Florastraße 3, 13187 Berlin",
        "Europe/Berlin",
        (Hall("Saal A", 10, 14, (7,)), Hall("Saal B", 8, 12, (6,), 1)),
    ),
    Theatre(
        "Cinema Miradouro",
        "Lisbon",
        "Rua da Graça 88, 1170-169 Lisboa",
        "Europe/Lisbon",
        (
            Hall("Sala 1", 15, 20, (5, 15), 3),
            Hall("Sala 2", 9, 14, (7,)),
            Hall("Sala 3", 7, 10, (5,), 1),
        ),
    ),
    Theatre(
        "Salão Alfama",
        "Lisbon",
        "Largo do Salvador 4, 1100-462 Lisboa",
        "Europe/Lisbon",
        (Hall("Sala Azul", 11, 16, (8,)), Hall("Sala Verde", 6, 11, (5,), 1)),
    ),
    Theatre(
        "The Grafton Picture House",
        "Dublin",
        "21 Clarendon Row, Dublin 2",
        "Europe/Dublin",
        (Hall("Screen 1", 14, 22, (6, 16), 3), Hall("Screen 2", 10, 15, (7,))),
    ),
    Theatre(
        "Harbour Screen",
        "Dublin",
        "5 Sir John Rogerson's Quay, Dublin 2",
        "Europe/Dublin",
        (Hall("Screen A", 12, 18, (6, 12)), Hall("Screen B", 8, 10, (5,), 1)),
    ),
)

PRICES = {"standard": 1150, "premium": 1450, "front": 900}
CURRENCY = "EUR"


def seats_of(hall: Hall) -> Iterator[Seat]:
    """The hall's seats in reading order: screen in front, row A nearest to it.

    The front row is cheaper, the last rows dearer; both ends of the last row but one are places
    for wheelchairs, each with a companion's seat beside it.
    """
    position = 0
    for index in range(hall.rows):
        letter = ROW_LETTERS[index]
        position += 1  # a gap between rows: they are no neighbours
        x = 0.0
        for number in range(1, hall.width + 1):
            position += 1
            x += 1.0
            yield Seat(
                label=f"{letter}{number}",
                section="Stalls",
                row=letter,
                number=number,
                position=position,
                x=x,
                y=float(index),
                price_class=_price_class(hall, index),
                attributes=_attributes(hall, index, number),
            )
            if number in hall.aisles:
                position += 1
                x += 1.0


def _price_class(hall: Hall, index: int) -> str:
    if index == 0:
        return "front"
    return "premium" if index >= hall.rows - hall.premium_rows else "standard"


def _attributes(hall: Hall, index: int, number: int) -> tuple[str, ...]:
    found = []
    if number in hall.aisles or number - 1 in hall.aisles or number in (1, hall.width):
        found.append("aisle")
    if index == hall.rows - 2:
        if number in (1, hall.width):
            found.append("accessible")
        elif number in (2, hall.width - 1):
            found.append("companion")
    return tuple(found)
