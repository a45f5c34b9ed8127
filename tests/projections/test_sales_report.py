"""What the reports say of a show, its film, its theatre and its day."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.postgres.database import Database
from readmodel import reports
from readmodel.reports import By
from tests.factories import Hall, create_hall
from tests.projections.town import (
    CONFIRMED,
    LAPSED,
    NOON,
    PRICE,
    Happened,
    append,
    book,
    catch_up,
    refunded,
    released,
    rows,
)

DAY = date(2026, 12, 4)
STARTS = """
UPDATE shows SET starts_at = :at, ends_at = CAST(:at AS timestamptz) + interval '2 hours',
                 free_at = CAST(:at AS timestamptz) + interval '2 hours'
WHERE id = :id RETURNING movie_id
"""

TAKEN_BACK: Happened = (
    "DisputeClosed",
    {"outcome": "lost", "provider_payment_id": None, "dispute_id": "d", "amount": 2 * PRICE},
)
BUILDING = """
INSERT INTO projections (name, generation, state)
SELECT name, generation + 1, 'building' FROM projections RETURNING 1
"""
OF_SHOW = """
SELECT shows.id AS show_id, movie_id, theatre_id
FROM shows JOIN auditoriums ON auditoriums.id = auditorium_id WHERE shows.id = :id
"""


@pytest.fixture
async def hall(own_engine: AsyncEngine, own_database: Database) -> Hall:
    """Ten seats in Berlin; the show begins at 00:30 there, which is the day before in UTC."""
    hall = await create_hall(own_engine)
    await rows(own_database, STARTS, at="2026-12-03T23:30:00Z", id=hall.show_id)
    return hall


async def sold(
    database: Database, by: By = By.SHOW, day: date = DAY, until: date | None = None
) -> list[dict[str, Any]]:
    async with database.statements() as session:
        found = await reports.sales(session, by=by, since=day, until=until or day)
    assert found is not None
    return found


async def a_day_of_sales(url: str, database: Database, show_id: UUID) -> None:
    """Two sold (one lost to the bank, one partly refunded), one lapsed, one still held."""
    book(url, show_id, "A1", "A2", then=[CONFIRMED, TAKEN_BACK])
    whole = book(url, show_id, "A3", "A4", then=[CONFIRMED, released("A4"), refunded(PRICE)])
    book(url, show_id, "A5", then=[LAPSED, released("A5")], at=NOON + timedelta(hours=2))
    book(url, show_id, "A6")
    # Money that came late and went back was never earned.
    late = ("RefundSettled", {"refund_id": "late", "amount": PRICE})
    append(url, whole, [late], NOON + timedelta(minutes=20), after=5)
    await catch_up(database)
    # Nobody is shown what is being built anew beside it.
    await rows(database, BUILDING)


async def test_a_show_tells_what_it_sold_earned_and_gave_back(
    url: str, own_database: Database, hall: Hall
) -> None:
    await a_day_of_sales(url, own_database, hall.show_id)
    [line] = await sold(own_database)
    assert line["show_id"] == str(hall.show_id)
    assert line["movie"] == "Metropolis"
    assert (line["capacity"], line["seats_sold"], line["seats_returned"]) == (10, 3, 1)
    assert (line["bookings"], line["confirmed"], line["lapsed"]) == (4, 2, 1)
    assert (line["occupancy"], line["lapse_rate"]) == (0.3, 0.25)
    assert line["revenue"] == {"amount": 4 * PRICE, "currency": "EUR"}
    assert line["refunds"] == {"amount": PRICE, "currency": "EUR"}
    assert line["charged_back"] == {"amount": 2 * PRICE, "currency": "EUR"}


async def test_a_day_is_that_of_the_theatre(url: str, own_database: Database, hall: Hall) -> None:
    await a_day_of_sales(url, own_database, hall.show_id)
    [line] = await sold(own_database, By.DAY)
    assert (line["day"], line["seats_sold"]) == ("2026-12-04", 3)
    assert await sold(own_database, By.DAY, DAY - timedelta(days=1)) == []


@pytest.mark.parametrize("by", [By.MOVIE, By.THEATRE])
async def test_shows_of_a_film_and_of_a_theatre_come_to_one_line(
    url: str, own_database: Database, own_engine: AsyncEngine, hall: Hall, by: By
) -> None:
    """Also one of another day that has sold nothing: its seats were there to be filled."""
    [row] = await rows(own_database, STARTS, at="2026-12-04T10:00:00Z", id=hall.show_id)
    second = uuid4()
    copy = """INSERT INTO shows (id, movie_id, auditorium_id, auditorium_number, seat_map_id,
        starts_at, ends_at, free_at, currency, sales_open_at, sales_close_at)
        SELECT :second, movie_id, auditorium_id, auditorium_number, seat_map_id,
        starts_at + interval '1 day', ends_at + interval '1 day', free_at + interval '1 day',
        currency, sales_open_at, sales_close_at FROM shows WHERE id = :id RETURNING 1"""
    await rows(own_database, copy, second=second, id=hall.show_id)
    await a_day_of_sales(url, own_database, hall.show_id)
    tomorrow = DAY + timedelta(days=1)
    [line] = await sold(own_database, by, until=tomorrow)
    assert (line["shows"], line["capacity"], line["occupancy"]) == (2, 20, 0.15)
    lines = await sold(own_database, By.DAY, until=tomorrow)
    assert [(line["day"], line["seats_sold"]) for line in lines] == [
        ("2026-12-04", 3),
        ("2026-12-05", 0),
    ]
    assert by is not By.MOVIE or line["movie_id"] == str(row.movie_id)


async def test_what_a_cancelled_show_has_not_given_back_yet_fills_no_seat_of_another(
    url: str, own_database: Database, own_engine: AsyncEngine, hall: Hall
) -> None:
    """Its refunds may wait for days, for a balance or a bank; its seats count as sold till then."""
    called_off = await create_hall(own_engine)
    await rows(own_database, STARTS, at="2026-12-04T10:00:00Z", id=called_off.show_id)
    cancel = "UPDATE shows SET status = 'cancelled' WHERE id = :id RETURNING 1"
    await rows(own_database, cancel, id=called_off.show_id)
    book(url, called_off.show_id, *called_off.labels, then=[CONFIRMED])
    book(url, hall.show_id, "A1", then=[CONFIRMED])
    await catch_up(own_database)
    [line] = await sold(own_database, By.DAY)
    assert (line["seats_sold"], line["capacity"], line["occupancy"]) == (11, 10, 0.1)


async def test_currencies_are_never_added_up(
    url: str, own_database: Database, own_engine: AsyncEngine, hall: Hall
) -> None:
    other = await create_hall(own_engine)
    await rows(own_database, STARTS, at="2026-12-04T10:00:00Z", id=other.show_id)
    await rows(
        own_database,
        "UPDATE shows SET currency = 'JPY' WHERE id = :id RETURNING 1",
        id=other.show_id,
    )
    book(url, hall.show_id, "A1", then=[CONFIRMED])
    await catch_up(own_database)
    lines = await sold(own_database, By.DAY)
    assert {line["revenue"]["currency"]: line["revenue"]["amount"] for line in lines} == {
        "EUR": PRICE,
        "JPY": 0,
    }


async def test_csv_runs_nothing_in_a_spreadsheet(
    url: str, own_database: Database, hall: Hall
) -> None:
    title = "UPDATE movies SET title = '=1+1' RETURNING 1"
    await rows(own_database, title)
    book(url, hall.show_id, "A1", then=[CONFIRMED])
    await catch_up(own_database)
    content = reports.sales_csv(By.SHOW, await sold(own_database)).decode()
    [line] = csv.DictReader(io.StringIO(content))
    assert line["movie"] == "'=1+1"
    assert (line["revenue"], line["revenue_decimal"], line["currency"]) == ("1200", "12.00", "EUR")
    assert line["occupancy"] == "0.1"


async def test_demand_is_told_by_the_hour_in_which_it_came(
    url: str, own_database: Database, hall: Hall
) -> None:
    book(url, hall.show_id, "A7", at=NOON - timedelta(hours=12))
    await a_day_of_sales(url, own_database, hall.show_id)
    [of] = await rows(own_database, OF_SHOW, id=hall.show_id)
    all_of_it = dict.fromkeys(("show_id", "movie_id", "theatre_id"))
    async with own_database.statements() as session:
        found = await reports.demand(session, since=DAY, until=DAY, **all_of_it)
        for name, id_ in of._asdict().items():
            for asked, told in ((id_, found), (uuid4(), [])):
                wish = {**all_of_it, name: asked}
                assert await reports.demand(session, since=DAY, until=DAY, **wish) == told
        for day in (DAY - timedelta(days=1), DAY + timedelta(days=1)):
            assert await reports.demand(session, since=day, until=day, **all_of_it) == []
    assert found is not None
    assert [tuple(line.values())[1:] for line in found] == [
        ("Europe/Berlin", "2026-12-04T00:00", 1, 1, 0, 0),
        ("Europe/Berlin", "2026-12-04T12:00", 3, 5, 2, 0),
        ("Europe/Berlin", "2026-12-04T14:00", 1, 1, 0, 1),
    ]
    assert found[0]["hour"] == "2026-12-03T23:00:00.000Z"
    assert b"Europe/Berlin" in reports.demand_csv(found)


async def test_more_lines_than_a_report_has_are_refused(
    url: str, own_database: Database, hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    book(url, hall.show_id, "A1")
    await catch_up(own_database)
    all_of_it = dict.fromkeys(("show_id", "movie_id", "theatre_id"))
    async with own_database.statements() as session:
        for most in (1, 0):
            monkeypatch.setattr(reports, "MOST_LINES", most)
            told = [
                await reports.sales(session, by=By.SHOW, since=DAY, until=DAY),
                await reports.demand(session, since=DAY, until=DAY, **all_of_it),
            ]
            assert [lines is None for lines in told] == [most == 0] * 2
        assert (await session.one(text("SELECT 1 AS one"))).one == 1  # type: ignore[union-attr]
