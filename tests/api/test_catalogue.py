"""The catalogue as anybody reads it: search, paging, local days, seat maps, availability."""

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
from tests.helpers.problems import assert_problem

ADD_MOVIE = "INSERT INTO movies (id, source_key, title, director, genres, year)"
ADD_BOOKING = """
INSERT INTO bookings (id, user_id, show_id, state, currency, total_amount, seat_count,
                      hold_expires_at, hold_max_expires_at, lapses)
VALUES (:booking, :user, :show, 'held', 'EUR', 1200, 1,
        clock_timestamp() + CAST(:left AS interval), clock_timestamp() + interval '1 hour', :lapses)
"""
CLAIM = "INSERT INTO seat_claims (show_id, label, state, booking_id)"
BAD_IDS = ("x", "1", "%00", "00000000-0000-0000-0000-00000000000g", "%F0%9F%8E%AC", "'--")


async def run(engine: AsyncEngine, statement: str, **values: object) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement), values)


async def add_movie(
    engine: AsyncEngine, title: str, *, director: str | None = None, genres: tuple[str, ...] = ()
) -> str:
    movie_id = uuid4()
    await run(
        engine,
        ADD_MOVIE + " VALUES (:id, :key, :title, :director, :genres, 1999)",
        id=movie_id,
        key=str(movie_id),
        title=title,
        director=director,
        genres=list(genres),
    )
    return str(movie_id)


async def claim(
    engine: AsyncEngine, hall: Hall, label: str, *, left: str = "10 minutes", lapses: bool = True
) -> UUID:
    """A seat held by a booking of its own, for as long as ``left`` says."""
    booking_id = uuid4()
    await run(
        engine,
        ADD_BOOKING,
        booking=booking_id,
        user=hall.user_id,
        show=hall.show_id,
        left=left,
        lapses=lapses,
    )
    await run(
        engine,
        CLAIM + " VALUES (:show, :label, 'held', :booking)",
        show=hall.show_id,
        label=label,
        booking=booking_id,
    )
    return booking_id


async def ids(client: httpx2.AsyncClient, **params: str) -> set[str]:
    answer = await client.get("/api/movies", params={"limit": "100", **params})
    assert answer.status_code == 200, answer.text
    assert answer.json()["next"] is None
    return {movie["id"] for movie in answer.json()["items"]}


# --- Films ---


async def test_one_film(client: httpx2.AsyncClient, engine: AsyncEngine) -> None:
    movie_id = await add_movie(engine, "Vertigo", director="Alfred H.", genres=("Drama",))
    answer = await client.get(f"/api/movies/{movie_id}")
    assert answer.status_code == 200
    assert answer.json() == {
        "id": movie_id,
        "title": "Vertigo",
        "year": 1999,
        "runtime_minutes": None,
        "rating": None,
        "genres": ["Drama"],
        "director": "Alfred H.",
        "synopsis": None,
    }


@pytest.mark.parametrize(
    ("title", "found_by"),
    [
        ("Zaubermond", ("zaubermond", "ZAUBER", "z", "  zaubermond  ")),
        ("Face/Off", ("Face/Off", "off", "face off", "fac of")),
        ("Catch-22", ("Catch-22", "catch 22", "22", "Catch-2")),
        ("S.W.A.T.", ("S.W.A.T.", "s.w.a")),
        ("Fahrenheit 9/11", ("fahrenheit 9/11", "9/1", "11")),
        ("Déjà Vu", ("déjà vu", "dé")),
        ("Ocean's Eleven", ("ocean's eleven", "ocean")),
        ("10,000 B.C.", ("10,000 B.C.", "10,000")),
        ("Ri¢hie Ri¢h", ("Ri¢hie Ri¢h",)),
    ],
)
async def test_words_and_their_beginnings_find_a_film(
    client: httpx2.AsyncClient, engine: AsyncEngine, title: str, found_by: tuple[str, ...]
) -> None:
    movie_id = await add_movie(engine, title, director="Quentin Unfindable")
    for q in (*found_by, f"{title} unfind"):
        assert movie_id in await ids(client, q=q), q
    for q in ("xyzzy", f"{title} xyzzy", "unfindablest"):
        assert movie_id not in await ids(client, q=q), q


@pytest.mark.parametrize("q", ["!!!", "   ", "&|!()", "<->", "'", "\\", ":*", "(", "%"])
async def test_marks_find_nothing_and_break_nothing(client: httpx2.AsyncClient, q: str) -> None:
    assert await ids(client, q=q) == set()


async def test_words_that_look_like_a_query_are_words(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    movie_id = await add_movie(engine, "Wolkenbruch")
    for q in ("!xyzzy", "xyzzy | wolkenbruch", "wolkenbruch & !wolkenbruch & xyzzy"):
        assert movie_id not in await ids(client, q=q)
    assert movie_id in await ids(client, q="wolkenbruch:* & ((")


async def test_films_by_genre(client: httpx2.AsyncClient, engine: AsyncEngine) -> None:
    genre, other = f"G{uuid4()}", f"G{uuid4()}"
    both = await add_movie(engine, "Both", genres=(genre, other))
    one = await add_movie(engine, "One", genres=(genre,))
    assert await ids(client, genre=genre) == {both, one}
    assert await ids(client, genre=other) == {both}
    assert await ids(client, genre=genre, q="one") == {one}
    assert await ids(client, genre="No such genre") == set()


async def test_pages_hold_every_film_once_in_order(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    genre = f"G{uuid4()}"
    titles = ["Same", "Same", "Same", "Älter", "a", "B", "'quote'", "zz", "10"]
    added = {await add_movie(engine, title, genres=(genre,)) for title in titles}
    whole = (await client.get("/api/movies", params={"genre": genre, "limit": 100})).json()
    for limit in (1, 2, len(titles) - 1, len(titles)):
        seen: list[Any] = []
        params: dict[str, Any] = {"genre": genre, "limit": limit}
        while True:
            page = (await client.get("/api/movies", params=params)).json()
            assert 0 < len(page["items"]) <= limit
            seen += page["items"]
            if page["next"] is None:
                break
            params["cursor"] = page["next"]
        assert seen == whole["items"]
    assert {movie["id"] for movie in whole["items"]} == added


async def test_a_page_has_twenty_films_unless_told(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    genre = f"G{uuid4()}"
    for number in range(21):
        await add_movie(engine, f"Film {number}", genres=(genre,))
    page = (await client.get("/api/movies", params={"genre": genre})).json()
    assert len(page["items"]) == 20
    assert page["next"]


# --- Theatres and local days ---


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
        ("America/Los_Angeles", "07-01 23:30", "07-01"),
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


# --- One show ---


async def test_one_show(client: httpx2.AsyncClient, engine: AsyncEngine) -> None:
    hall = await create_hall(engine, seats=3, price=1250)
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


# --- Seat maps ---


async def test_a_seat_map_is_found_kept_and_never_changes(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    hall = await create_hall(engine, seats=3)
    found = await client.get(f"/api/show/{hall.show_id}/seatmap")
    assert found.status_code == 302
    assert found.headers["location"] == f"/api/show/{hall.show_id}/seatmap?v=1"
    assert "immutable" not in found.headers["cache-control"]
    first = await client.get(found.headers["location"])
    assert first.status_code == 200
    assert first.headers["cache-control"] == "public, max-age=31536000, immutable"
    content = first.json()
    assert content["version"] == 1
    assert [seat["label"] for seat in content["seats"]] == list(hall.labels)
    assert content["rows"] == [{"section": "Stalls", "row": "A", "labels": list(hall.labels)}]

    tag = first.headers["etag"]
    again = await client.get(found.headers["location"], headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == tag
    other = await client.get(found.headers["location"], headers={"If-None-Match": '"x"'})
    assert (other.status_code, other.content) == (200, first.content)


async def test_a_new_version_leaves_the_old_one(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    hall = await create_hall(engine, seats=2)
    path = f"/api/show/{hall.show_id}/seatmap"
    old = await client.get(path, params={"v": 1})
    new_id = uuid4()
    await run(
        engine,
        "INSERT INTO seat_maps (id, auditorium_id, version, capacity)"
        " SELECT :new, auditorium_id, 2, 1 FROM shows WHERE id = :show",
        new=new_id,
        show=hall.show_id,
    )
    await run(
        engine,
        "UPDATE shows SET seat_map_id = :new WHERE id = :show",
        new=new_id,
        show=hall.show_id,
    )
    assert (await client.get(path)).headers["location"].endswith("?v=2")
    new = await client.get(path, params={"v": 2})
    assert new.json() == {"version": 2, "seats": [], "rows": []}
    assert new.headers["etag"] != old.headers["etag"]
    assert (await client.get(path, params={"v": 1})).content == old.content


async def test_a_version_that_is_none_is_not_found(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    path = f"/api/show/{(await create_hall(engine)).show_id}/seatmap"
    for version in ("2", str(2**31 - 1)):
        assert_problem(await client.get(path, params={"v": version}), 404, "not_found")
    for version in ("0", "-1", "x", "1.5", "", str(2**31), "\x00"):
        assert_problem(await client.get(path, params={"v": version}), 422, "invalid")


# --- Availability ---


async def test_availability_names_only_the_seats_that_are_taken(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    hall = await create_hall(engine, seats=6)
    path = f"/api/show/{hall.show_id}/availability"
    empty = await client.get(path)
    assert empty.json() == {"show_id": str(hall.show_id), "version": 0, "seats": {}}
    await claim(engine, hall, "A2")
    await run(
        engine,
        CLAIM + " VALUES (:show, 'A1', 'free', NULL), (:show, 'A3', 'blocked', NULL),"
        " (:show, 'A4', 'sold', NULL)",
        show=hall.show_id,
    )
    answer = await client.get(path)
    assert answer.json()["seats"] == {"A2": "held", "A3": "blocked", "A4": "sold"}
    assert answer.json()["version"] > 0
    shown = (await client.get(f"/api/show/{hall.show_id}")).json()
    assert shown["availability"] == {"capacity": 6, "available": 3}


async def test_the_tag_changes_with_every_change_of_a_seat(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    hall = await create_hall(engine)
    path = f"/api/show/{hall.show_id}/availability"
    tags: list[str] = []
    versions: list[int] = []

    async def look() -> None:
        kept = {"If-None-Match": tags[-1]} if tags else {}
        answer = await client.get(path, headers=kept)
        assert answer.status_code == 200, "a change went unnoticed"
        assert answer.headers["cache-control"] == "no-cache"
        tags.append(answer.headers["etag"])
        versions.append(answer.json()["version"])
        same = await client.get(path, headers={"If-None-Match": tags[-1]})
        assert (same.status_code, same.content) == (304, b"")

    await look()
    booking_id = await claim(engine, hall, "A1")
    await look()
    await claim(engine, hall, "A2")
    await look()
    values = {"show": hall.show_id, "booking": booking_id}
    await run(
        engine,
        "UPDATE seat_claims SET state = 'sold' WHERE booking_id = :booking AND show_id = :show",
        **values,
    )
    await look()
    await run(
        engine,
        "UPDATE seat_claims SET state = 'free', booking_id = NULL, fence = fence + 1"
        " WHERE booking_id = :booking AND show_id = :show",
        **values,
    )
    await look()
    assert len(set(tags)) == len(tags)
    assert versions == sorted(versions)


async def test_a_lapsed_hold_is_available(client: httpx2.AsyncClient, engine: AsyncEngine) -> None:
    hall = await create_hall(engine, seats=3)
    path = f"/api/show/{hall.show_id}/availability"
    booking_id = await claim(engine, hall, "A1")
    await claim(engine, hall, "A2", left="-1 second", lapses=False)
    held = await client.get(path)
    assert held.json()["seats"] == {"A1": "held", "A2": "held"}
    await run(
        engine,
        "UPDATE bookings SET hold_expires_at = clock_timestamp() WHERE id = :id",
        id=booking_id,
    )
    lapsed = await client.get(path, headers={"If-None-Match": held.headers["etag"]})
    assert lapsed.status_code == 200
    assert lapsed.json()["seats"] == {"A2": "held"}
    assert lapsed.json()["version"] >= held.json()["version"]
    shown = (await client.get(f"/api/show/{hall.show_id}")).json()
    assert shown["availability"] == {"capacity": 3, "available": 2}


# --- What nobody should send ---


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=99999999999999999999",
        "cursor=x",
        "cursor=%00",
        "cursor=%F0%9F%8E%AC",
        "cursor=bnVsbA==",
        "cursor=WyJhIl0=",
        "cursor=WyJhIiwgImIiXQ==",
        "cursor=WzEsIDJd",
        "cursor=WyJcdTAwMDAiLCAiYiJd",
        "cursor=" + "A" * 2000,
        "date=tomorrow",
        "date=2026-02-30",
        "date=2026-13-01",
        "date=%00",
        "q=%00",
        "city=a%00b",
        "q=" + "x" * 201,
        "genre=" + "x" * 201,
        "city=" + "x" * 201,
    ],
)
async def test_a_bad_question_is_invalid(client: httpx2.AsyncClient, query: str) -> None:
    assert_problem(await client.get(f"/api/movies?{query}"), 422, "invalid")


@pytest.mark.parametrize("path", ["/api/movies", "/api/theatres", "/api/shows/{movie}"])
@pytest.mark.parametrize(
    "value", ["%00", "a%00b", "%FF%FE", "%ED%A0%80", "%F0%9F%8E%AC", "%5C", "%27"]
)
async def test_characters_of_every_kind_break_nothing(
    client: httpx2.AsyncClient, engine: AsyncEngine, path: str, value: str
) -> None:
    movie_id = await add_movie(engine, "Any")
    for name in ("q", "genre", "city", "date", "limit", "cursor", "unknown"):
        answer = await client.get(f"{path.format(movie=movie_id)}?{name}={value}")
        assert answer.status_code in (200, 422), (name, answer.text)


@pytest.mark.parametrize(
    "path",
    [
        "/api/movies/{id}",
        "/api/shows/{id}",
        "/api/show/{id}",
        "/api/show/{id}/seatmap",
        "/api/show/{id}/seatmap?v=1",
        "/api/show/{id}/availability",
    ],
)
async def test_what_is_not_there_is_not_found(client: httpx2.AsyncClient, path: str) -> None:
    assert_problem(await client.get(path.format(id=uuid4())), 404, "not_found")
    for bad in BAD_IDS:
        answer = await client.get(path.format(id=bad))
        assert answer.status_code == 404, bad
        assert answer.json()["code"] == "not_found"
