"""What anybody may ask of the catalogue is answered from indexes, however much there is."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.postgres.engine import create_engine
from readmodel import catalogue
from tests.fixtures import servers

FILL = (
    """
    INSERT INTO movies (id, source_key, title, genres, director)
    SELECT gen_random_uuid(), n, 'Film ' || md5(n::text),
           ARRAY[CASE WHEN n % 1000 = 0 THEN 'Musical' ELSE 'Drama' END],
           'Director ' || md5((n / 7)::text)
    FROM generate_series(1, 20000) AS n
    """,
    """
    INSERT INTO theatres (id, name, city, address, timezone)
    SELECT gen_random_uuid(), 'Theatre ' || n, 'City ' || n / 4, '', 'Europe/Berlin'
    FROM generate_series(1, 1000) AS n
    """,
    """
    INSERT INTO auditoriums (id, theatre_id, name)
    SELECT gen_random_uuid(), theatres.id, 'Screen ' || n
    FROM theatres, generate_series(1, 2) AS n
    """,
    """
    INSERT INTO seat_maps (id, auditorium_id, version, capacity)
    SELECT gen_random_uuid(), id, 1, 20 FROM auditoriums
    """,
    """
    INSERT INTO seats (seat_map_id, label, position, section, row, number, x, y, price_class)
    SELECT seat_maps.id, 'A' || n, n, 'Stalls', 'A', n, n, 0, 'standard'
    FROM seat_maps, generate_series(1, 20) AS n
    """,
    """
    INSERT INTO shows (id, movie_id, auditorium_id, auditorium_number, seat_map_id, starts_at,
                       ends_at, free_at, currency, sales_open_at, sales_close_at)
    SELECT gen_random_uuid(), movie.id, hall.id, hall.number, hall.map, at,
           at + interval '2 hours', at + interval '2 hours', 'EUR', at - interval '30 days', at
    FROM (SELECT auditoriums.*, seat_maps.id AS map, row_number() OVER (ORDER BY number) AS place
          FROM auditoriums JOIN seat_maps ON seat_maps.auditorium_id = auditoriums.id) AS hall
    CROSS JOIN generate_series(1, 20) AS n
    CROSS JOIN LATERAL (SELECT now() + n * interval '5 hours' AS at) AS start
    JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place FROM movies) AS movie
      ON movie.place = (hall.place * 20 + n) % 8000 + 1
    """,
    "INSERT INTO prices (show_id, price_class, amount) SELECT id, 'standard', 900 FROM shows",
    """
    INSERT INTO users (id, email, email_key, name, password_hash)
    VALUES (gen_random_uuid(), 'ada@example.test', 'ada@example.test', 'Ada', '')
    """,
    """
    INSERT INTO bookings (id, user_id, show_id, state, currency, total_amount, seat_count,
                          hold_expires_at, hold_max_expires_at)
    SELECT gen_random_uuid(), users.id, shows.id, 'held', 'EUR', 900, 1,
           now() + interval '1 hour', now() + interval '1 hour'
    FROM users, shows
    """,
    """
    INSERT INTO seat_claims (show_id, label, state, booking_id)
    SELECT show_id, 'A' || n, 'held', id FROM bookings, generate_series(1, 5) AS n
    """,
)
# By name: the lists that all databases share are locked by a plain ANALYZE.
ANALYZE = text(
    "ANALYZE movies, theatres, auditoriums, seat_maps, seats, shows, prices, bookings, seat_claims"
)
A_SHOW = text("SELECT id, movie_id FROM shows ORDER BY id LIMIT 1")
ANY_MOVIE: dict[str, Any] = {
    "query": None,
    "genre": None,
    "city": None,
    "day": None,
    "after_title": None,
    "after_id": None,
    "limit": 21,
}
ALL_THEATRES: dict[str, Any] = {
    "city": None,
    "after_city": None,
    "after_name": None,
    "limit": 101,
}
# Those that are large; a list of a few hundred theatres may well be read through.
LARGE = {"movies", "shows", "seats", "prices", "bookings", "seat_claims"}


@pytest.fixture(scope="module")
async def large(worker_id: str) -> AsyncIterator[AsyncConnection]:
    """A catalogue of 20,000 films and 40,000 shows with 200,000 claims."""
    url = servers.make_database(os.environ[servers.DATABASE], f"seathold_plans_{worker_id}")
    engine = create_engine(servers.settings_for(url, os.environ[servers.REDIS]))
    async with engine.begin() as connection:
        for statement in FILL:
            await connection.execute(text(statement))
    async with engine.begin() as connection:
        await connection.execute(ANALYZE)
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


@pytest.fixture(scope="module")
async def a_show(large: AsyncConnection) -> tuple[UUID, UUID]:
    """Its id and its film's."""
    row = (await large.execute(A_SHOW)).one()
    return row.id, row.movie_id


async def plan_of(
    connection: AsyncConnection, statement: TextClause, parameters: dict[str, Any]
) -> list[dict[str, Any]]:
    """Every node of the plan."""
    explain = text(f"EXPLAIN (FORMAT JSON) {statement.text}")
    answer = await connection.scalar(explain, parameters)
    nodes, found = [answer[0]["Plan"]], []
    while nodes:
        node = nodes.pop()
        found.append(node)
        nodes.extend(node.get("Plans", ()))
    return found


def read_through(plan: list[dict[str, Any]]) -> set[str]:
    """The large tables that are read from end to end."""
    scans = {node.get("Relation Name") for node in plan if node["Node Type"] == "Seq Scan"}
    return LARGE & scans


def indexes(plan: list[dict[str, Any]]) -> set[str]:
    return {node["Index Name"] for node in plan if "Index Name" in node}


@pytest.mark.parametrize(
    ("question", "index"),
    [
        ({}, "movies_title_id_idx"),
        ({"after_title": "Film 8", "after_id": UUID(int=0)}, "movies_title_id_idx"),
        ({"query": "'film':* & '8a':*"}, "movies_words_idx"),
        ({"genre": "Musical"}, "movies_genres_idx"),
        ({"genre": "None"}, "movies_genres_idx"),
        ({"city": "City 9"}, "shows_auditorium_id_starts_at_idx"),
        ({"day": date(2040, 1, 1)}, "shows_starts_at_id_idx"),
        ({"query": "'8a':*", "city": "City 9"}, "movies_words_idx"),
    ],
)
async def test_films(large: AsyncConnection, question: dict[str, Any], index: str) -> None:
    plan = await plan_of(large, catalogue.MOVIES, {**ANY_MOVIE, **question})
    assert read_through(plan) == set()
    assert index in indexes(plan)


@pytest.mark.parametrize("question", [{}, {"city": "City 9"}, {"after_city": "City 9"}])
async def test_theatres(large: AsyncConnection, question: dict[str, Any]) -> None:
    parameters = {**ALL_THEATRES, **question}
    if parameters["after_city"]:
        parameters["after_name"] = "Theatre 9"
    plan = await plan_of(large, catalogue.THEATRES, parameters)
    assert indexes(plan) == {"theatres_city_name_key"}


def tomorrow() -> date:
    return datetime.now(UTC).date() + timedelta(days=1)


@pytest.mark.parametrize("city", [None, "City 9"])
@pytest.mark.parametrize("by_day", [False, True])
async def test_shows_of_a_film(
    large: AsyncConnection, a_show: tuple[UUID, UUID], city: str | None, by_day: bool
) -> None:
    parameters = {"movie_id": a_show[1], "city": city, "day": tomorrow() if by_day else None}
    plan = await plan_of(large, catalogue.SHOWS_OF_MOVIE, parameters)
    assert read_through(plan) == set()
    assert {"seat_claims_show_label_key", "prices_pkey"} <= indexes(plan)


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (catalogue.SHOW, "shows_pkey"),
        (catalogue.AVAILABILITY, "seat_claims_show_label_key"),
        (catalogue.MAP_VERSIONS, "shows_pkey"),
    ],
)
async def test_one_show(
    large: AsyncConnection, a_show: tuple[UUID, UUID], statement: TextClause, index: str
) -> None:
    parameters: dict[str, Any] = {"id": a_show[0]}
    if statement is catalogue.MAP_VERSIONS:
        parameters["version"] = 1
    if statement is catalogue.AVAILABILITY:
        parameters["extensions"] = 2
    plan = await plan_of(large, statement, parameters)
    assert read_through(plan) == set()
    assert index in indexes(plan)


async def test_one_film(large: AsyncConnection, a_show: tuple[UUID, UUID]) -> None:
    plan = await plan_of(large, catalogue.MOVIE, {"id": a_show[1]})
    assert indexes(plan) == {"movies_pkey"}


async def test_seats_of_a_map(large: AsyncConnection) -> None:
    seat_map = await large.scalar(text("SELECT id FROM seat_maps LIMIT 1"))
    plan = await plan_of(large, catalogue.SEATS, {"id": seat_map})
    assert read_through(plan) == set()
    assert indexes(plan)


async def test_a_search_without_an_index_is_noticed(large: AsyncConnection) -> None:
    """The test's own test: what reads a table through is found out."""
    everything = text("SELECT count(*) FROM shows WHERE format = :format")
    plan = await plan_of(large, everything, {"format": "2D"})
    assert read_through(plan) == {"shows"}
