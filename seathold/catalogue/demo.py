"""The demo catalogue: films, theatres and two weeks of shows; a repeat adds what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import SEATHOLD
from domain.movie import Movie, mend
from infra.postgres.engine import create_engine
from infra.settings import Settings
from seathold.catalogue.halls import CURRENCY, PRICES, THEATRES, Hall, Theatre, seats_of
from seathold.catalogue.importer import LATEST_YEAR, movie_id, read_rows, store

MOVIES = Path(__file__).parent / "data" / "movies.json"
DAYS = 14
TRAILERS = timedelta(minutes=15)
TURNAROUND = timedelta(minutes=20)
FIRST_START = time(11, 0)
LAST_START = time(22, 45)
SALES_OPEN_BEFORE = timedelta(days=30)
FORMATS = ("2D", "2D", "2D", "3D")

ADD_THEATRE = text("""
INSERT INTO theatres (id, name, city, address, timezone)
VALUES (:id, :name, :city, :address, :timezone) ON CONFLICT DO NOTHING
""")
ADD_AUDITORIUM = text("""
INSERT INTO auditoriums (id, theatre_id, name) VALUES (:id, :theatre_id, :name)
ON CONFLICT DO NOTHING
""")
ADD_SEAT_MAP = text("""
INSERT INTO seat_maps (id, auditorium_id, version, capacity)
VALUES (:id, :auditorium_id, 1, :capacity) ON CONFLICT DO NOTHING
""")
ADD_SEATS = text("""
INSERT INTO seats (seat_map_id, label, position, section, row, number, x, y, price_class,
                   attributes)
VALUES (:seat_map_id, :label, :position, :section, :row, :number, :x, :y, :price_class,
        :attributes) ON CONFLICT DO NOTHING
""")
ADD_SHOWS = text("""
INSERT INTO shows (id, movie_id, auditorium_id, auditorium_number, seat_map_id, starts_at,
                   ends_at, free_at, format, language, currency, sales_open_at, sales_close_at)
SELECT :id, :movie_id, auditoriums.id, number, :seat_map_id, :starts_at, :ends_at, :free_at,
       :format, 'en', :currency, :sales_open_at, :starts_at
FROM auditoriums WHERE id = :auditorium_id ON CONFLICT DO NOTHING
""")
ADD_PRICES = text("""
INSERT INTO prices (show_id, price_class, amount) VALUES (:show_id, :price_class, :amount)
ON CONFLICT DO NOTHING
""")
LAST_DAY = text("SELECT max(starts_at) FROM shows WHERE auditorium_id = :id")


@dataclass(frozen=True)
class Showing:
    """One show of the programme; times are UTC."""

    movie: Movie
    starts_at: datetime
    format: str

    @property
    def ends_at(self) -> datetime:
        return self.starts_at + TRAILERS + timedelta(minutes=self.movie.runtime_minutes or 100)


async def seed(settings: Settings, *, today: date | None = None) -> int:
    """Put the catalogue in; days that have shows are left alone, so a repeat is quick.

    Returns:
        How many shows were added.
    """
    today = today or datetime.now(UTC).date()
    movies = [mend(row, latest_year=LATEST_YEAR) for row in read_rows(MOVIES)]
    engine = create_engine(settings)
    async with engine.begin() as connection:
        await store(connection, movies)
        number = added = 0
        for theatre in THEATRES:
            await connection.execute(ADD_THEATRE, _theatre_row(theatre))
            for hall in theatre.halls:
                await _add_hall(connection, theatre, hall)
                added += await _add_shows(connection, theatre, hall, movies, today, number)
                number += 1
    await engine.dispose()
    return added


def programme(
    theatre: Theatre, movies: Sequence[Movie], day: date, hall_number: int
) -> Iterator[Showing]:
    """One hall's day in the theatre's own time: as many films as fit between the turnarounds."""
    zone = ZoneInfo(theatre.timezone)
    starts = datetime.combine(day, FIRST_START, zone).astimezone(UTC)
    last = datetime.combine(day, LAST_START, zone).astimezone(UTC)
    turn = day.toordinal() * 7 + hall_number * 31
    while starts <= last:
        movie = movies[turn % len(movies)]
        showing = Showing(movie, starts, FORMATS[turn % len(FORMATS)])
        yield showing
        starts = _on_five_minutes(showing.ends_at + TURNAROUND)
        turn += 1


def _on_five_minutes(at: datetime) -> datetime:
    return at + timedelta(minutes=-at.minute % 5)


def _id(*names: object) -> UUID:
    return uuid5(SEATHOLD, "demo|" + "|".join(map(str, names)))


def _theatre_row(theatre: Theatre) -> dict[str, Any]:
    return {
        "id": _id(theatre.name),
        "name": theatre.name,
        "city": theatre.city,
        "address": theatre.address,
        "timezone": theatre.timezone,
    }


async def _add_hall(connection: AsyncConnection, theatre: Theatre, hall: Hall) -> None:
    auditorium, seat_map = _id(theatre.name, hall.name), _id(theatre.name, hall.name, 1)
    await connection.execute(
        ADD_AUDITORIUM, {"id": auditorium, "theatre_id": _id(theatre.name), "name": hall.name}
    )
    added = await connection.execute(
        ADD_SEAT_MAP, {"id": seat_map, "auditorium_id": auditorium, "capacity": hall.capacity}
    )
    if added.rowcount == 0:
        return
    rows = [
        {
            "seat_map_id": seat_map,
            "label": seat.label,
            "position": seat.position,
            "section": seat.section,
            "row": seat.row,
            "number": seat.number,
            "x": seat.x,
            "y": seat.y,
            "price_class": seat.price_class,
            "attributes": list(seat.attributes),
        }
        for seat in seats_of(hall)
    ]
    await connection.execute(ADD_SEATS, rows)


async def _add_shows(
    connection: AsyncConnection,
    theatre: Theatre,
    hall: Hall,
    movies: Sequence[Movie],
    today: date,
    number: int,
) -> int:
    auditorium = _id(theatre.name, hall.name)
    last: datetime | None = await connection.scalar(LAST_DAY, {"id": auditorium})
    zone = ZoneInfo(theatre.timezone)
    first = max(today, last.astimezone(zone).date() + timedelta(days=1)) if last else today
    shows = [
        showing
        for offset in range((today + timedelta(days=DAYS) - first).days)
        for showing in programme(theatre, movies, first + timedelta(days=offset), number)
    ]
    if not shows:
        return 0
    ids = [_id(auditorium, showing.starts_at.isoformat()) for showing in shows]
    await connection.execute(
        ADD_SHOWS,
        [
            {
                "id": show_id,
                "movie_id": movie_id(showing.movie.source_key),
                "auditorium_id": auditorium,
                "seat_map_id": _id(theatre.name, hall.name, 1),
                "starts_at": showing.starts_at,
                "ends_at": showing.ends_at,
                "free_at": showing.ends_at + TURNAROUND,
                "format": showing.format,
                "currency": CURRENCY,
                "sales_open_at": showing.starts_at - SALES_OPEN_BEFORE,
            }
            for show_id, showing in zip(ids, shows, strict=True)
        ],
    )
    await connection.execute(
        ADD_PRICES,
        [
            {"show_id": show_id, "price_class": name, "amount": amount}
            for show_id in ids
            for name, amount in PRICES.items()
        ],
    )
    return len(shows)
