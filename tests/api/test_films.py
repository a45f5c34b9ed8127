"""Films as anybody reads them: one, by search, page by page."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.helpers.catalogue import add_movie, ids


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
