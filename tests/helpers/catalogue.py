"""Rows for tests of the catalogue, and what a search finds."""

from __future__ import annotations

import time
from uuid import UUID, uuid4

import httpx2
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.redis.seat_claims import RedisSeatPreclaims

SELL = "INSERT INTO seat_claims (show_id, label, state) VALUES (:show_id, :label, 'sold')"
ADD_MOVIE = "INSERT INTO movies (id, source_key, title, director, genres, year)"


def nothing_older() -> dict[str, str]:
    """The header of who has just written something; the servers' clock is this machine's."""
    return {"Read-After": str(time.time_ns() // 1000)}


async def run(engine: AsyncEngine, statement: str, **values: object) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement), values)


async def sell(
    engine: AsyncEngine, show_id: UUID, label: str = "A1", *, redis: Redis | None = None
) -> None:
    """Nobody's booking has the seat; with ``redis`` every process hears of it."""
    await run(engine, SELL, show_id=show_id, label=label)
    if redis is not None:
        await RedisSeatPreclaims(redis).sell(show_id, [label], uuid4())


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


async def ids(client: httpx2.AsyncClient, **params: str) -> set[str]:
    answer = await client.get("/api/movies", params={"limit": "100", **params})
    assert answer.status_code == 200, answer.text
    assert answer.json()["next"] is None
    return {movie["id"] for movie in answer.json()["items"]}
