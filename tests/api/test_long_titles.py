"""A list goes on after whatever title its page ends with."""

from __future__ import annotations

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.movie import TEXT_MAX
from tests.helpers.catalogue import add_movie


@pytest.mark.parametrize("letter", ["x", "電", "🎬", '"'])
async def test_the_longest_title_is_no_end_of_the_list(
    client: httpx2.AsyncClient, engine: AsyncEngine, letter: str
) -> None:
    word = f"longest{ord(letter)}"
    title = f"{word} ".ljust(TEXT_MAX, letter)
    films = [await add_movie(engine, title) for _ in range(2)]
    found: list[str] = []
    asked = {"q": word, "limit": "1"}
    for _ in films:
        answer = await client.get("/api/movies", params=asked)
        assert answer.status_code == 200, answer.text
        found += [movie["id"] for movie in answer.json()["items"]]
        asked["cursor"] = answer.json()["next"] or ""
    assert sorted(found) == sorted(films)
    assert asked["cursor"] == ""
