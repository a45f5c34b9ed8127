"""What was sold and how full it was, and when it was asked for: read from projections."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain.money import Money
from infra.postgres.database import Session
from readmodel.bookings import Json, money
from readmodel.instants import stamp
from readmodel.spreadsheet import Cell, as_csv, as_decimal

# More lines than this are no report: the reader is told to ask for fewer days.
MOST_LINES = 10_000


class By(StrEnum):
    SHOW = "show"
    MOVIE = "movie"
    THEATRE = "theatre"
    DAY = "day"


# A day is the one on which the show begins at its theatre. No place is further from UTC than 14
# hours: what bounds a local day lets the index on the start find it. A cancelled show has no seats
# to fill, but the money that came and went; what of it still counts as sold fills no seat either.
SALES = text("""
WITH line AS (
    SELECT shows.id AS show_id, shows.starts_at, shows.movie_id, movies.title AS movie,
           theatres.id AS theatre_id, theatres.name AS theatre, theatres.city, theatres.timezone,
           auditoriums.name AS auditorium,
           (shows.starts_at AT TIME ZONE theatres.timezone)::date AS day,
           CASE WHEN shows.status = 'cancelled' THEN 0 ELSE seat_maps.capacity END AS capacity,
           coalesce(sales.currency, shows.currency) AS currency,
           coalesce(bookings, 0) AS bookings, coalesce(confirmed, 0) AS confirmed,
           coalesce(lapsed, 0) AS lapsed, coalesce(seats_sold, 0) AS seats_sold,
           coalesce(seats_returned, 0) AS seats_returned, coalesce(revenue, 0) AS revenue,
           coalesce(refunded, 0) AS refunded, coalesce(charged_back, 0) AS charged_back
    FROM shows
    JOIN movies ON movies.id = shows.movie_id
    JOIN auditoriums ON auditoriums.id = shows.auditorium_id
    JOIN theatres ON theatres.id = auditoriums.theatre_id
    JOIN seat_maps ON seat_maps.id = shows.seat_map_id
    LEFT JOIN projected_sales AS sales ON sales.show_id = shows.id AND sales.generation = (
        SELECT generation FROM projections WHERE name = 'sales' AND state = 'live')
    WHERE shows.starts_at BETWEEN CAST(:since AS date) - interval '14 hours'
                              AND CAST(:until AS date) + interval '38 hours'
      AND (shows.starts_at AT TIME ZONE theatres.timezone)::date
          BETWEEN CAST(:since AS date) AND CAST(:until AS date)
), keyed AS (
    SELECT *, CASE CAST(:by AS text) WHEN 'show' THEN show_id::text WHEN 'movie' THEN movie_id::text
                      WHEN 'theatre' THEN theatre_id::text ELSE day::text END AS key
    FROM line
)
SELECT key, currency, min(movie) AS movie, min(theatre) AS theatre, min(city) AS city,
       min(auditorium) AS auditorium, min(timezone) AS timezone, min(starts_at) AS starts_at,
       count(DISTINCT show_id) AS shows, sum(capacity)::bigint AS capacity,
       sum(bookings)::bigint AS bookings, sum(confirmed)::bigint AS confirmed,
       sum(lapsed)::bigint AS lapsed, sum(seats_sold)::bigint AS seats_sold,
       sum(CASE WHEN capacity > 0 THEN seats_sold ELSE 0 END)::bigint AS filled,
       sum(seats_returned)::bigint AS seats_returned, sum(revenue)::bigint AS revenue,
       sum(refunded)::bigint AS refunds, sum(charged_back)::bigint AS charged_back
FROM keyed GROUP BY key, currency
ORDER BY min(day), min(starts_at), key, currency LIMIT :limit
""")

# Whole hours of UTC, told in the time of each theatre.
DEMAND = text("""
SELECT hour, timezone, to_char(hour AT TIME ZONE timezone, 'YYYY-MM-DD"T"HH24:MI') AS local_time,
       sum(bookings)::bigint AS bookings, sum(seats)::bigint AS seats,
       sum(confirmed)::bigint AS confirmed, sum(lapsed)::bigint AS lapsed
FROM projected_demand AS demand
JOIN shows ON shows.id = demand.show_id
JOIN auditoriums ON auditoriums.id = shows.auditorium_id
JOIN theatres ON theatres.id = auditoriums.theatre_id
WHERE demand.generation = (
          SELECT generation FROM projections WHERE name = 'demand' AND state = 'live')
  AND hour BETWEEN CAST(:since AS date) - interval '14 hours'
               AND CAST(:until AS date) + interval '38 hours'
  AND (hour AT TIME ZONE timezone)::date BETWEEN CAST(:since AS date) AND CAST(:until AS date)
  AND (CAST(:show_id AS uuid) IS NULL OR demand.show_id = :show_id)
  AND (CAST(:movie_id AS uuid) IS NULL OR shows.movie_id = :movie_id)
  AND (CAST(:theatre_id AS uuid) IS NULL OR theatres.id = :theatre_id)
GROUP BY hour, timezone ORDER BY hour, timezone LIMIT :limit
""")

# What names a line, by what the report is by; with the columns of its CSV.
NAMES: dict[By, tuple[str, ...]] = {
    By.SHOW: ("show_id", "starts_at", "timezone", "movie", "theatre", "auditorium"),
    By.MOVIE: ("movie_id", "movie"),
    By.THEATRE: ("theatre_id", "theatre", "city", "timezone"),
    By.DAY: ("day",),
}
COUNTS = ("shows", "capacity", "seats_sold", "seats_returned", "bookings", "confirmed", "lapsed")
SUMS = ("revenue", "refunds", "charged_back")
HOURS = ("hour", "timezone", "local_time", "bookings", "seats", "confirmed", "lapsed")


async def sales(session: Session, *, by: By, since: date, until: date) -> list[Json] | None:
    """One line for each show, movie, theatre or day and each currency; None when that is too many.

    ``seats_sold`` are sold now, ``seats_returned`` were given back after their sale. ``revenue``
    is what was sold for, before ``refunds`` (sent back, on request or with a cancelled show) and
    ``charged_back``. ``lapse_rate``: of the bookings made, how many ran out unpaid.
    """
    found = await session.all(SALES, by=by, since=since, until=until, limit=MOST_LINES + 1)
    return [_line(row, by) for row in found] if len(found) <= MOST_LINES else None


async def demand(
    session: Session,
    *,
    since: date,
    until: date,
    show_id: UUID | None,
    movie_id: UUID | None,
    theatre_id: UUID | None,
) -> list[Json] | None:
    """One line for each hour in which anything happened; None when that is too many."""
    found = await session.all(
        DEMAND,
        since=since,
        until=until,
        show_id=show_id,
        movie_id=movie_id,
        theatre_id=theatre_id,
        limit=MOST_LINES + 1,
    )
    if len(found) > MOST_LINES:
        return None
    return [{**row._asdict(), "hour": stamp(row.hour)} for row in found]


def sales_csv(by: By, lines: Sequence[Json]) -> bytes:
    """Money in minor units and as a decimal number; rates as numbers."""
    sums = [name for one in SUMS for name in (one, f"{one}_decimal")]
    header = [*NAMES[by], *COUNTS, "occupancy", "lapse_rate", "currency", *sums]
    return as_csv(header, (_cells(by, line) for line in lines))


def demand_csv(lines: Sequence[Json]) -> bytes:
    return as_csv(HOURS, ([line[name] for name in HOURS] for line in lines))


def _line(row: Any, by: By) -> Json:
    names = {**row._asdict(), NAMES[by][0]: row.key, "starts_at": stamp(row.starts_at)}
    return {
        **{name: names[name] for name in NAMES[by]},
        **{name: getattr(row, name) for name in COUNTS},
        "occupancy": _rate(row.filled, row.capacity),
        "lapse_rate": _rate(row.lapsed, row.bookings),
        **{name: money(getattr(row, name), row.currency) for name in SUMS},
    }


def _rate(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _cells(by: By, line: Json) -> list[Cell]:
    cells: list[Cell] = [line[name] for name in (*NAMES[by], *COUNTS)]
    cells += ["" if line[name] is None else line[name] for name in ("occupancy", "lapse_rate")]
    cells.append(line["revenue"]["currency"])
    for name in SUMS:
        told = Money(line[name]["amount"], line[name]["currency"])
        cells += [told.amount, as_decimal(told)]
    return cells
