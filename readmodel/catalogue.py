"""Films, theatres, shows, seat maps and availability, as anybody may see them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text

from domain.limits import EXTENSIONS_PER_HOLD
from infra.postgres.database import Session
from infra.postgres.show import SALE_ENDS
from readmodel.bookings import Json, money
from readmodel.instants import microseconds, stamp

# Without these marks no two words are one ("Face/Off", "Catch-22"); titles and questions are
# taken apart by the same rule, so that what was typed as it is written is found.
# A last show that began before midnight is still of its local day; ``date`` is that day.
QUERY = text("""
SELECT string_agg(quote_literal(lexeme) || ':*', ' & ') AS query
FROM unnest(to_tsvector('simple'::regconfig,
                        translate(CAST(:words AS text), './-@:+_~', '        ')))
""")
# Asked for in two steps: a query that the planner cannot see makes it read all titles in order.
# No place is further from UTC than 14 hours: what bounds a local day lets the index on the start
# find it.
MOVIES = text("""
SELECT id, title, year, runtime_minutes, rating, genres, director, synopsis FROM movies
WHERE (CAST(:query AS text) IS NULL
       OR to_tsvector('simple'::regconfig, translate(
              (title || ' '::text) || COALESCE(director, ''::text),
              './-@:+_~'::text, '        '::text)) @@ CAST(:query AS tsquery))
  AND (CAST(:genre AS text) IS NULL OR genres @> ARRAY[CAST(:genre AS text)])
  AND (CAST(:after_title AS text) IS NULL
       OR (title, id) > (CAST(:after_title AS text), CAST(:after_id AS uuid)))
  AND (CAST(:city AS text) IS NULL AND CAST(:day AS date) IS NULL OR EXISTS (
      SELECT FROM shows
      JOIN auditoriums ON auditoriums.id = shows.auditorium_id
      JOIN theatres ON theatres.id = auditoriums.theatre_id
      WHERE shows.movie_id = movies.id AND shows.status <> 'cancelled'
        AND shows.starts_at > now()
        AND (CAST(:city AS text) IS NULL OR theatres.city = :city)
        AND (CAST(:day AS date) IS NULL
             OR shows.starts_at BETWEEN CAST(:day AS date) - interval '14 hours'
                                    AND CAST(:day AS date) + interval '38 hours'
                AND (shows.starts_at AT TIME ZONE theatres.timezone)::date = :day)))
ORDER BY title, id LIMIT :limit
""")
MOVIE = text("""
SELECT id, title, year, runtime_minutes, rating, genres, director, synopsis
FROM movies WHERE id = :id
""")
THEATRES = text("""
SELECT id, name, city, address, timezone FROM theatres
WHERE (CAST(:city AS text) IS NULL OR city = :city)
  AND (CAST(:after_city AS text) IS NULL
       OR (city, name) > (CAST(:after_city AS text), CAST(:after_name AS text)))
ORDER BY city, name LIMIT :limit
""")

# A reading tells the time of its transaction, which begins before its snapshot: what was committed
# by then is in it. The time of the statement is taken anew when it is run, after its snapshot.
SELECT_SHOW = f"""
SELECT shows.id, shows.movie_id, shows.starts_at, shows.ends_at, shows.format, shows.language,
       shows.status, shows.currency, shows.sales_open_at,
       {SALE_ENDS} AS sales_close_at,
       now() AS now, seat_maps.version, seat_maps.capacity,
       theatres.id AS theatre_id, theatres.name AS theatre, theatres.city, theatres.address,
       theatres.timezone, auditoriums.id AS auditorium_id, auditoriums.name AS auditorium,
       (SELECT json_object_agg(price_class, amount) FROM prices
        WHERE show_id = shows.id AND ticket_type = 'standard') AS prices,
       (SELECT count(*) FROM seat_claims AS claim
        LEFT JOIN bookings ON bookings.id = claim.booking_id
        WHERE claim.show_id = shows.id AND claim.state <> 'free'
          AND NOT (claim.state = 'held' AND bookings.lapses
                   AND bookings.hold_expires_at <= clock_timestamp())) AS taken
FROM shows
JOIN seat_maps ON seat_maps.id = shows.seat_map_id
JOIN auditoriums ON auditoriums.id = shows.auditorium_id
JOIN theatres ON theatres.id = auditoriums.theatre_id
"""  # noqa: S608  # nosec B608
SHOW = text(SELECT_SHOW + "WHERE shows.id = :id")
# One statement, so that a crowd that finds no copy costs one: the film, with its shows if any.
FILM_AND = """
SELECT film.*, listed.* FROM (
    SELECT row_to_json(movie)::text AS movie, now() AS read_at
    FROM (
        SELECT id, title, year, runtime_minutes, rating, genres, director, synopsis
        FROM movies WHERE id = :movie_id
    ) AS movie
) AS film LEFT JOIN LATERAL (
"""
SHOWS_OF_MOVIE = text(
    FILM_AND
    + SELECT_SHOW
    + """
WHERE shows.movie_id = :movie_id AND shows.status <> 'cancelled'
  AND (CAST(:city AS text) IS NULL OR theatres.city = :city)
  AND CASE WHEN CAST(:day AS date) IS NULL THEN shows.starts_at > now()
      ELSE (shows.starts_at AT TIME ZONE theatres.timezone)::date = :day END
) AS listed ON true
ORDER BY city, theatre, starts_at
"""
)

MOVIE_OF_SHOW = text("SELECT movie_id FROM shows WHERE id = :id")

MAP_VERSIONS = text("""
SELECT current.version AS current, asked.id
FROM shows JOIN seat_maps AS current ON current.id = shows.seat_map_id
LEFT JOIN seat_maps AS asked ON asked.auditorium_id = current.auditorium_id
                            AND asked.version = :version
WHERE shows.id = :id
""")
SEATS = text("""
SELECT label, section, row, number, x, y, price_class, attributes FROM seats
WHERE seat_map_id = :id ORDER BY position
""")

# What `version` is made of: a seat's fence rises with every new holder, and what can become of one
# holder's claim comes in one order: held, extended, run out, kept by a pay page, sold. So every
# change of a seat raises the sum, none lowers it, and it survives a lost Redis. Holds are judged by
# one moment: of two that end while the rows are read, either could be the one that had ended.
AVAILABILITY = text("""
SELECT EXISTS (SELECT FROM shows WHERE id = :id) AS is_there,
       (extract(epoch FROM now()) * 1000000)::bigint AS read_at,
       coalesce(sum(fence * 16 + CASE
           WHEN state = 'sold' THEN 15 WHEN state <> 'held' THEN 0 WHEN NOT lapses THEN 14
           ELSE 2 * least(greatest(:extensions - extensions_left, 0), 6) + has_run_out::int
       END), 0)::bigint AS version,
       json_object_agg(label, state) FILTER (WHERE state <> 'free' AND NOT has_run_out)::text
           AS seats
FROM (
    SELECT claim.label, claim.fence, claim.state, lapses, extensions_left,
           coalesce(claim.state = 'held' AND lapses AND hold_expires_at <= now(), false)
               AS has_run_out
    FROM seat_claims AS claim LEFT JOIN bookings ON bookings.id = claim.booking_id
    WHERE claim.show_id = :id ORDER BY claim.label
) AS claim
""")


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read, and how long it is true.

    Args:
        read_at: microseconds since 1970 by the database clock; all that was committed by then is
            in it.
        seconds: until the clock alone makes it another.
        about: the ids of the film and the shows whose news make it another.
        tag: names this state of it; empty where only its bytes can tell.
    """

    content: Json
    read_at: int
    seconds: float = math.inf
    about: tuple[str, ...] = ()
    tag: str = ""


async def movies(
    session: Session,
    *,
    words: str | None,
    genre: str | None,
    city: str | None,
    day: date | None,
    after: tuple[str, UUID] | None,
    limit: int,
) -> list[Json]:
    """One page by title; all of ``words`` must begin a word of title or director."""
    query = await session.one(QUERY, words=words) if words else None
    if query is not None and query.query is None:
        return []
    after_title, after_id = after or (None, None)
    found = await session.all(
        MOVIES,
        query=query.query if query else None,
        genre=genre,
        city=city,
        day=day,
        after_title=after_title,
        after_id=after_id,
        limit=limit,
    )
    return [_movie(row) for row in found]


async def movie(session: Session, movie_id: UUID) -> Json | None:
    row = await session.one(MOVIE, id=movie_id)
    return _movie(row) if row is not None else None


async def theatres(
    session: Session, *, city: str | None, after: tuple[str, str] | None, limit: int
) -> list[Json]:
    """One page by city and name."""
    after_city, after_name = after or (None, None)
    found = await session.all(
        THEATRES, city=city, after_city=after_city, after_name=after_name, limit=limit
    )
    return [{**row._asdict(), "id": str(row.id)} for row in found]


async def show(session: Session, show_id: UUID) -> Reading | None:
    row = await session.one(SHOW, id=show_id)
    return _reading(_show(row), row.now, [row]) if row is not None else None


async def movie_of_show(session: Session, show_id: UUID) -> UUID | None:
    row = await session.one(MOVIE_OF_SHOW, id=show_id)
    return row.movie_id if row is not None else None


async def shows_of_movie(
    session: Session, movie_id: UUID, *, city: str | None, day: date | None
) -> Reading | None:
    """``{movie, theatres: [{theatre, shows}]}``: from now on, or those of one local day."""
    found = await session.all(SHOWS_OF_MOVIE, movie_id=movie_id, city=city, day=day)
    if not found:
        return None
    rows = [row for row in found if row.id is not None]
    groups: dict[UUID, Json] = {}
    for row in rows:
        theatre = {**_theatre(row), "address": row.address}
        group = groups.setdefault(row.theatre_id, {"theatre": theatre, "shows": []})
        group["shows"].append(_show(row))
    content = {"movie": orjson.loads(found[0].movie), "theatres": list(groups.values())}
    return _reading(content, found[0].read_at, rows, str(movie_id))


async def map_version(
    session: Session, show_id: UUID, version: int | None
) -> tuple[int, UUID | None] | None:
    """The show's current version, and the id of the asked one if there is one."""
    row = await session.one(MAP_VERSIONS, id=show_id, version=version)
    return (row.current, row.id) if row is not None else None


async def seat_map(session: Session, seat_map_id: UUID, version: int) -> Reading:
    seats = [row._asdict() for row in await session.all(SEATS, id=seat_map_id)]
    rows: dict[tuple[str, str], list[str]] = {}
    for seat in seats:
        rows.setdefault((seat["section"], seat["row"]), []).append(seat["label"])
    content = {
        "version": version,
        "seats": seats,
        "rows": [
            {"section": section, "row": row, "labels": labels}
            for (section, row), labels in rows.items()
        ],
    }
    return Reading(content, read_at=0, tag=str(seat_map_id))


async def availability(session: Session, show_id: UUID) -> Reading | None:
    """``{show_id, version, seats}``: only the seats that are not available.

    The same version is the same seats, and a later one is never lower.
    """
    row = await session.one(AVAILABILITY, id=show_id, extensions=EXTENSIONS_PER_HOLD)
    assert row is not None, "an aggregate always has one row"
    if not row.is_there:
        return None
    seats = orjson.loads(row.seats) if row.seats else {}
    content = {"show_id": str(show_id), "version": row.version, "seats": seats}
    return Reading(content, row.read_at, about=(str(show_id),), tag=str(row.version))


def _reading(content: Json, at: datetime, rows: list[Any], *about: str) -> Reading:
    """True until the next sale opens or closes or the next show begins."""
    turns = [
        turn
        for row in rows
        for turn in (row.sales_open_at, row.sales_close_at, row.starts_at)
        if turn > at
    ]
    return Reading(
        content,
        read_at=microseconds(at),
        seconds=(min(turns) - at).total_seconds() if turns else math.inf,
        about=(*about, *(str(row.id) for row in rows)),
    )


def _movie(row: Any) -> Json:
    return {**row._asdict(), "id": str(row.id)}


def _theatre(row: Any) -> Json:
    return {
        "id": str(row.theatre_id),
        "name": row.theatre,
        "city": row.city,
        "timezone": row.timezone,
    }


def _show(row: Any) -> Json:
    return {
        "id": str(row.id),
        "movie_id": str(row.movie_id),
        "theatre": _theatre(row),
        "auditorium": {"id": str(row.auditorium_id), "name": row.auditorium},
        "starts_at": stamp(row.starts_at),
        "ends_at": stamp(row.ends_at),
        "timezone": row.timezone,
        "format": row.format,
        "language": row.language,
        "sales": {"opens_at": stamp(row.sales_open_at), "closes_at": stamp(row.sales_close_at)},
        "status": _status(row),
        "prices": {
            name: money(amount, row.currency) for name, amount in (row.prices or {}).items()
        },
        "seatmap_url": f"/api/show/{row.id}/seatmap?v={row.version}",
        "availability": {"capacity": row.capacity, "available": row.capacity - row.taken},
    }


def _status(row: Any) -> str:
    if row.status != "on_sale":
        return str(row.status)
    if row.now < row.sales_open_at:
        return "scheduled"
    return "on_sale" if row.now < row.sales_close_at else "closed"
