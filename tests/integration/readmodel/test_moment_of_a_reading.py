"""The moment that a reading names: whatever was committed by then is in it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.postgres.database import Database, Session
from infra.settings import Settings
from readmodel import catalogue
from readmodel.catalogue import Reading
from readmodel.instants import microseconds
from tests.factories import Hall, create_hall
from tests.helpers.catalogue import run, sell

# Two statements see one snapshot. In one statement only a hair lies between its snapshot and its
# time, which the server takes when it runs what it has bound; a crowd finds it.
ONE_SNAPSHOT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
MOVE = "UPDATE shows SET {} = :at WHERE id = :id"
CLOCK = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS at")
Read = Callable[[Session, Hall], Awaitable[Reading | None]]


async def of_film(session: Session, hall: Hall) -> Reading | None:
    movie_id = await catalogue.movie_of_show(session, hall.show_id)
    assert movie_id is not None
    return await catalogue.shows_of_movie(session, movie_id, city=None, day=None)


READS: dict[str, Read] = {
    "availability": lambda session, hall: catalogue.availability(session, hall.show_id),
    "show": lambda session, hall: catalogue.show(session, hall.show_id),
    "shows_of_movie": of_film,
}


@pytest.mark.parametrize("name", READS)
async def test_a_reading_is_no_older_than_the_moment_it_names(
    settings: Settings, engine: AsyncEngine, name: str
) -> None:
    hall = await create_hall(engine)
    database = Database(settings)
    try:
        async with database.transaction() as session:
            session.later(ONE_SNAPSHOT)
            before = await READS[name](session, hall)
            await sell(engine, hall.show_id)
            clock = await session.one(CLOCK)
            after = await READS[name](session, hall)
    finally:
        await database.close()
    assert before is not None
    assert after is not None
    assert clock is not None
    assert after.content == before.content, "the same snapshot: the seat is not in it"
    assert after.read_at < clock.at, "it says that it has what was committed by then"


async def test_a_show_is_true_until_the_clock_alone_makes_it_another(
    engine: AsyncEngine, database: Database
) -> None:
    """Its sale opens, its sale closes, it begins; nobody tells of these."""
    hall, now = await create_hall(engine), datetime.now(UTC)
    turns = {
        name: now + timedelta(hours=hours)
        for hours, name in enumerate(("sales_open_at", "sales_close_at", "starts_at"), 1)
    }
    for name, at in turns.items():
        await run(engine, MOVE.format(name), at=at, id=hall.show_id)
    until = []
    for passed in (*turns, None):
        async with database.statements() as session:
            reading = await catalogue.show(session, hall.show_id)
        assert reading is not None
        until.append(reading.read_at + round(reading.seconds * 1e6, 0))
        if passed is not None:
            await run(engine, MOVE.format(passed), at=now, id=hall.show_id)
    assert until == [*map(microseconds, turns.values()), math.inf]
