"""Theatres and shows as anybody reads them, on the theatre's own days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.factories import Hall, create_hall
from tests.helpers.catalogue import ids, run


@dataclass(frozen=True)
class Cinema:
    """A hall moved into a city of its own and another time zone."""

    hall: Hall
    movie_id: str
    city: str


async def open_cinema(engine: AsyncEngine, zone: str, local_start: str) -> Cinema:
    """One show that starts at ``local_start`` in ``zone``."""
    hall, city = await create_hall(engine), f"City {uuid4()}"
    values = {"show": hall.show_id, "zone": zone, "city": city, "at": local_start}
    await run(
        engine,
        "UPDATE theatres SET timezone = :zone, city = :city FROM auditoriums, shows"
        " WHERE theatre_id = theatres.id AND auditorium_id = auditoriums.id AND shows.id = :show",
        **values,
    )
    await run(
        engine,
        "UPDATE shows SET starts_at = at, ends_at = at + interval '2 hours',"
        " free_at = at + interval '2 hours', sales_close_at = at"
        " FROM (SELECT CAST(:at AS timestamp) AT TIME ZONE :zone AS at) AS start"
        " WHERE id = :show",
        **values,
    )
    show = await fetch(engine, "SELECT movie_id FROM shows WHERE id = :id", id=hall.show_id)
    return Cinema(hall, str(show["movie_id"]), city)


async def fetch(engine: AsyncEngine, statement: str, **values: object) -> dict[str, Any]:
    async with engine.connect() as connection:
        return dict((await connection.execute(text(statement), values)).one()._mapping)


def shows_in(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [show["id"] for group in answer.json()["theatres"] for show in group["shows"]]


NEXT_YEAR = datetime.now(UTC).year + 1


@pytest.mark.parametrize(
    ("zone", "start", "day"),
    [
        ("Europe/Berlin", "07-01 23:30", "07-01"),
        ("Europe/Berlin", "07-02 00:30", "07-02"),
        ("Europe/Berlin", "01-15 23:30", "01-15"),
        ("Europe/Berlin", "01-16 00:30", "01-16"),
        ("Europe/Lisbon", "10-31 23:59", "10-31"),
        ("Pacific/Pago_Pago", "07-01 23:30", "07-01"),
        ("Pacific/Kiritimati", "07-02 00:00", "07-02"),
        # Around the hours that summer time takes and gives.
        ("Europe/Berlin", "03-28 03:30", "03-28"),
        ("Europe/Berlin", "10-31 02:30", "10-31"),
    ],
)
async def test_a_date_is_the_theatres_own_day(
    client: httpx2.AsyncClient, engine: AsyncEngine, zone: str, start: str, day: str
) -> None:
    cinema = await open_cinema(engine, zone, f"{NEXT_YEAR}-{start}")
    path, right = f"/api/shows/{cinema.movie_id}", datetime.fromisoformat(f"{NEXT_YEAR}-{day}")
    for offset, expected in ((-1, []), (0, [str(cinema.hall.show_id)]), (1, [])):
        date = (right + timedelta(days=offset)).date().isoformat()
        assert shows_in(await client.get(path, params={"date": date})) == expected
        playing = await ids(client, city=cinema.city, date=date)
        assert playing == ({cinema.movie_id} if expected else set())
    assert shows_in(await client.get(path)) == [str(cinema.hall.show_id)]


async def test_shows_by_theatre(client: httpx2.AsyncClient, engine: AsyncEngine) -> None:
    cinema = await open_cinema(engine, "Europe/Berlin", f"{NEXT_YEAR}-07-01 20:00")
    other = await open_cinema(engine, "Europe/Lisbon", f"{NEXT_YEAR}-07-01 20:00")
    await run(
        engine,
        "UPDATE shows SET movie_id = :movie WHERE id = :show",
        movie=UUID(cinema.movie_id),
        show=other.hall.show_id,
    )
    path = f"/api/shows/{cinema.movie_id}"
    answer = await client.get(path)
    assert set(shows_in(answer)) == {str(cinema.hall.show_id), str(other.hall.show_id)}
    assert answer.json()["movie"]["id"] == cinema.movie_id
    groups = answer.json()["theatres"]
    assert {group["theatre"]["city"] for group in groups} == {cinema.city, other.city}
    assert shows_in(await client.get(path, params={"city": other.city})) == [
        str(other.hall.show_id)
    ]
    [show] = (await client.get(path, params={"city": other.city})).json()["theatres"][0]["shows"]
    assert show["timezone"] == "Europe/Lisbon"
    assert show["starts_at"].startswith(f"{NEXT_YEAR}-07-01T19:00:00")
    assert show["starts_at"].endswith("Z")
    assert shows_in(await client.get(path, params={"city": "Nowhere"})) == []


async def test_the_shows_of_a_theatre_come_as_they_begin(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    cinema = await open_cinema(engine, "Europe/Berlin", f"{NEXT_YEAR}-07-01 20:00")
    for hours in (3, -3):
        await run(
            engine,
            "INSERT INTO shows (id, movie_id, auditorium_id, auditorium_number, seat_map_id,"
            " starts_at, ends_at, free_at, currency, sales_open_at, sales_close_at)"
            " SELECT gen_random_uuid(), movie_id, auditorium_id, auditorium_number, seat_map_id,"
            " starts_at + apart, ends_at + apart, free_at + apart, currency, sales_open_at,"
            " sales_close_at FROM shows, make_interval(hours => :hours) AS apart WHERE id = :show",
            hours=hours,
            show=cinema.hall.show_id,
        )
    [group] = (await client.get(f"/api/shows/{cinema.movie_id}")).json()["theatres"]
    starts = [show["starts_at"][11:16] for show in group["shows"]]
    assert starts == ["15:00", "18:00", "21:00"]


async def test_what_is_over_or_cancelled_is_not_playing(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    over = await open_cinema(engine, "Europe/Berlin", "2001-07-01 20:00")
    off = await open_cinema(engine, "Europe/Berlin", f"{NEXT_YEAR}-07-01 20:00")
    await run(engine, "UPDATE shows SET status = 'cancelled' WHERE id = :id", id=off.hall.show_id)
    for cinema in (over, off):
        assert shows_in(await client.get(f"/api/shows/{cinema.movie_id}")) == []
        assert await ids(client, city=cinema.city) == set()
    shown = (await client.get(f"/api/show/{off.hall.show_id}")).json()
    assert shown["status"] == "cancelled"


async def test_theatres_by_city_and_page(client: httpx2.AsyncClient, engine: AsyncEngine) -> None:
    city = f"City {uuid4()}"
    for name in ("Beta", "alpha", "Ähre", "Alpha"):
        await run(
            engine,
            "INSERT INTO theatres (id, name, city, address, timezone)"
            " VALUES (:id, :name, :city, 'Street 1', 'Europe/Berlin')",
            id=uuid4(),
            name=name,
            city=city,
        )
    whole = (await client.get("/api/theatres", params={"city": city})).json()
    assert len(whole["items"]) == 4
    assert whole["next"] is None
    assert set(whole["items"][0]) == {"id", "name", "city", "address", "timezone"}
    seen, cursor = [], None
    for _ in range(2):
        params = {"city": city, "limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/api/theatres", params=params)).json()
        seen += page["items"]
        cursor = page["next"]
    assert seen == whole["items"]
    assert cursor is None


async def test_one_show(client: httpx2.AsyncClient, engine: AsyncEngine) -> None:
    hall = await create_hall(engine, seats=3, price=1250)
    await run(
        engine,
        "INSERT INTO prices (show_id, price_class, ticket_type, amount)"
        " VALUES (:id, 'standard', 'child', 600)",
        id=hall.show_id,
    )
    show = (await client.get(f"/api/show/{hall.show_id}")).json()
    assert show["status"] == "on_sale"
    assert show["prices"] == {"standard": {"amount": 1250, "currency": "EUR"}}
    assert show["availability"] == {"capacity": 3, "available": 3}
    assert show["seatmap_url"] == f"/api/show/{hall.show_id}/seatmap?v=1"
    assert (await client.get(show["seatmap_url"])).status_code == 200


@pytest.mark.parametrize(
    ("opens", "closes", "status"),
    [
        ("1 hour", "2 hours", "scheduled"),
        ("-1 hour", "1 hour", "on_sale"),
        ("-2 hours", "-1 hour", "closed"),
    ],
)
async def test_a_show_says_whether_it_is_on_sale(
    client: httpx2.AsyncClient, engine: AsyncEngine, opens: str, closes: str, status: str
) -> None:
    hall = await create_hall(engine)
    await run(
        engine,
        "UPDATE shows SET sales_open_at = now() + CAST(:opens AS interval),"
        " sales_close_at = now() + CAST(:closes AS interval) WHERE id = :id",
        opens=opens,
        closes=closes,
        id=hall.show_id,
    )
    assert (await client.get(f"/api/show/{hall.show_id}")).json()["status"] == status


async def test_a_sale_that_outlasts_the_start_is_over_with_it(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    hall = await create_hall(engine)
    path = f"/api/show/{hall.show_id}"
    await run(engine, "UPDATE shows SET starts_at = now() WHERE id = :id", id=hall.show_id)
    show = (await client.get(path)).json()
    assert (show["status"], show["sales"]["closes_at"]) == ("closed", show["starts_at"])
