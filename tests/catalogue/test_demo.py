"""The demo catalogue: large enough, seated as promised, two weeks ahead, nothing twice."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from domain.movie import Movie
from infra.postgres.engine import create_engine
from infra.settings import Settings
from seathold.catalogue.demo import DAYS, TURNAROUND, programme, seed
from seathold.catalogue.halls import PRICES, THEATRES, seats_of
from seathold.cli import app
from tests.conftest import WORKER
from tests.fixtures import servers

# Summer time ends in Europe on the 25th, in the middle of the fortnight.
TODAY = date(2026, 10, 20)
HALLS = [hall for theatre in THEATRES for hall in theatre.halls]

COUNTS = """
SELECT (SELECT count(*) FROM movies) AS movies, (SELECT count(*) FROM theatres) AS theatres,
       (SELECT count(*) FROM auditoriums) AS auditoriums,
       (SELECT count(*) FROM seat_maps) AS seat_maps, (SELECT count(*) FROM seats) AS seats,
       (SELECT count(*) FROM shows) AS shows, (SELECT count(*) FROM prices) AS prices
"""
SHOWS = """
SELECT shows.*, theatres.timezone, seat_maps.capacity,
       (shows.starts_at AT TIME ZONE theatres.timezone)::date AS day
FROM shows JOIN auditoriums ON auditoriums.id = shows.auditorium_id
JOIN theatres ON theatres.id = auditoriums.theatre_id
JOIN seat_maps ON seat_maps.id = shows.seat_map_id
ORDER BY shows.auditorium_id, shows.starts_at
"""
COPY_OF_A_SHOW = """
INSERT INTO shows (id, movie_id, auditorium_id, auditorium_number, seat_map_id, starts_at,
                   ends_at, free_at, currency, sales_open_at, sales_close_at, status)
SELECT :new, movie_id, auditorium_id, auditorium_number, seat_map_id,
       free_at - CAST(:overlap AS interval), free_at + interval '1 minute',
       free_at + interval '1 minute', currency, sales_open_at, sales_close_at, :status
FROM shows WHERE id = :id
"""


@pytest.fixture(scope="module")
async def seeded(demo: Settings) -> AsyncIterator[AsyncEngine]:
    await seed(demo, today=TODAY)
    engine = create_engine(demo)
    yield engine
    await engine.dispose()


async def rows(engine: AsyncEngine, statement: str, **values: object) -> list[dict[str, Any]]:
    async with engine.connect() as connection:
        found = await connection.execute(text(statement), values)
        return [dict(row._mapping) for row in found]


async def test_it_is_as_large_as_promised(seeded: AsyncEngine) -> None:
    [found] = await rows(seeded, COUNTS)
    assert found["movies"] >= 300
    assert found["theatres"] == 6
    assert found["auditoriums"] == found["seat_maps"] == 14
    cities = await rows(seeded, "SELECT DISTINCT city FROM theatres")
    assert len(cities) == 3


async def test_the_command_says_what_it_added(monkeypatch: pytest.MonkeyPatch) -> None:
    url = servers.make_database(os.environ[servers.DATABASE], f"seathold_seeded_{WORKER}")
    monkeypatch.setenv("SEATHOLD_DATABASE_URL", servers.as_app(url))
    told = [await asyncio.to_thread(CliRunner().invoke, app, ["seed"]) for _ in range(2)]
    engine = create_engine(servers.settings_for(url, "redis://127.0.0.1:1/0"))
    [found] = await rows(engine, COUNTS)
    await engine.dispose()
    assert [one.output for one in told] == [
        f"The demo catalogue is there; {count} shows are new.\n" for count in (found["shows"], 0)
    ]


async def test_seats_are_as_promised(seeded: AsyncEngine) -> None:
    maps = await rows(
        seeded,
        "SELECT seat_maps.id, capacity, count(*) AS seats,"
        " count(*) FILTER (WHERE 'accessible' = ANY (attributes)) AS accessible,"
        " count(*) FILTER (WHERE 'companion' = ANY (attributes)) AS companions,"
        " count(*) FILTER (WHERE 'aisle' = ANY (attributes)) AS aisles,"
        " count(DISTINCT price_class) AS classes"
        " FROM seat_maps JOIN seats ON seat_map_id = seat_maps.id GROUP BY seat_maps.id",
    )
    assert len(maps) == 14
    for one in maps:
        assert one["seats"] == one["capacity"]
        assert 60 <= one["capacity"] <= 450
        assert one["accessible"] == one["companions"] == 2
        assert one["aisles"] > 0
        assert one["classes"] == 3
    assert {min(one["capacity"] for one in maps), max(one["capacity"] for one in maps)} == {60, 450}


async def test_every_show_has_a_price_for_every_class_of_its_seats(seeded: AsyncEngine) -> None:
    without = await rows(
        seeded,
        "SELECT shows.id, seats.price_class FROM shows JOIN seats USING (seat_map_id)"
        " EXCEPT SELECT show_id, price_class FROM prices WHERE amount > 0",
    )
    assert without == []


async def test_every_hall_plays_every_day_of_the_fortnight(seeded: AsyncEngine) -> None:
    played = Counter((show["auditorium_id"], show["day"]) for show in await rows(seeded, SHOWS))
    days = {TODAY + timedelta(days=offset) for offset in range(DAYS)}
    assert {day for _, day in played} == days
    assert len(played) == 14 * DAYS
    assert min(played.values()) >= 3


async def test_no_hall_is_used_twice_at_a_time(seeded: AsyncEngine) -> None:
    for one, following in pairwise(await rows(seeded, SHOWS)):
        assert one["free_at"] - one["ends_at"] == TURNAROUND
        if one["auditorium_id"] == following["auditorium_id"]:
            assert one["free_at"] <= following["starts_at"]


async def test_the_programme_keeps_local_time_across_the_end_of_summer(
    seeded: AsyncEngine,
) -> None:
    shows = await rows(seeded, SHOWS)
    first: dict[tuple[Any, date], datetime] = {}
    for show in shows:
        local = show["starts_at"].astimezone(ZoneInfo(show["timezone"]))
        assert local.date() == show["day"]
        assert (11, 0) <= (local.hour, local.minute) <= (22, 45)
        first.setdefault((show["auditorium_id"], show["day"]), local)
    assert {(local.hour, local.minute) for local in first.values()} == {(11, 0)}
    offsets = {(local.date(), local.utcoffset()) for local in first.values()}
    assert len({offset for day, offset in offsets if day == date(2026, 10, 24)}) == 2
    berlin = [local for local in first.values() if str(local.tzinfo) == "Europe/Berlin"]
    hours = {local.date(): local.astimezone(UTC).hour for local in berlin}
    assert (hours[date(2026, 10, 24)], hours[date(2026, 10, 25)]) == (9, 10)


async def test_a_second_seed_changes_nothing(seeded: AsyncEngine, demo: Settings) -> None:
    before, shows = await rows(seeded, COUNTS), await rows(seeded, SHOWS)
    await seed(demo, today=TODAY)
    assert await rows(seeded, COUNTS) == before
    assert await rows(seeded, SHOWS) == shows


async def test_a_later_seed_adds_only_the_days_that_are_missing(
    empty: Settings, empty_engine: AsyncEngine
) -> None:
    await seed(empty, today=TODAY)
    before = {show["id"] for show in await rows(empty_engine, SHOWS)}
    await seed(empty, today=TODAY + timedelta(days=2))
    after = await rows(empty_engine, SHOWS)
    assert before < {show["id"] for show in after}
    added = {show["day"] for show in after if show["id"] not in before}
    assert added == {TODAY + timedelta(days=DAYS), TODAY + timedelta(days=DAYS + 1)}


@pytest.mark.parametrize(
    ("overlap", "status", "is_refused"),
    [
        ("1 second", "on_sale", True),
        ("1 second", "scheduled", True),
        ("0", "on_sale", False),
        ("1 second", "cancelled", False),
    ],
)
async def test_the_database_refuses_an_overlap(
    seeded: AsyncEngine, overlap: str, status: str, is_refused: bool
) -> None:
    last = (await rows(seeded, SHOWS))[-1]
    copy = {"new": uuid4(), "id": last["id"], "overlap": overlap, "status": status}
    async with seeded.connect() as connection:
        if is_refused:
            with pytest.raises(IntegrityError, match="shows_no_overlap_excl"):
                await connection.execute(text(COPY_OF_A_SHOW), copy)
        else:
            await connection.execute(text(COPY_OF_A_SHOW), copy)
        await connection.rollback()


@pytest.mark.parametrize("hall", HALLS, ids=lambda hall: hall.name)
def test_seats_of_a_hall(hall: Any) -> None:
    seats = list(seats_of(hall))
    assert len(seats) == len({seat.label for seat in seats}) == hall.capacity
    positions = [seat.position for seat in seats]
    assert positions == sorted(set(positions))
    assert {seat.price_class for seat in seats} == set(PRICES)
    for left, right in pairwise(seats):
        are_neighbours = left.row == right.row and left.number not in hall.aisles
        assert (right.position - left.position == 1) is are_neighbours
        if left.row == right.row:
            assert right.x - left.x == (1 if are_neighbours else 2)
    for row in {seat.row for seat in seats}:
        ends = [seat for seat in seats if seat.row == row and seat.number in (1, hall.width)]
        assert all("aisle" in seat.attributes for seat in ends)


@pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25), date(2027, 2, 28)])
def test_a_day_of_very_long_and_very_short_films(day: date) -> None:
    films = [
        Movie(str(minutes), str(minutes), None, minutes, None, (), None)
        for minutes in (1000, 1, 222, None)
    ]
    for theatre in THEATRES:
        for number in range(4):
            shows = list(programme(theatre, films, day, number))
            assert shows
            for one, following in pairwise(shows):
                assert one.ends_at + TURNAROUND <= following.starts_at
                assert following.starts_at.minute % 5 == 0
            local = [show.starts_at.astimezone(ZoneInfo(theatre.timezone)) for show in shows]
            assert all(start.date() == day for start in local)
