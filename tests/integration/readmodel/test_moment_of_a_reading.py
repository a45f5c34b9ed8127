"""The moment that a reading names: whatever was committed by then is in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.postgres.database import Database, Session
from infra.settings import Settings
from readmodel import catalogue
from readmodel.catalogue import Reading
from tests.factories import Hall, create_hall
from tests.helpers.catalogue import sell

# Two statements see one snapshot. In one statement only a hair lies between its snapshot and its
# time, which the server takes when it runs what it has bound; a crowd finds it.
ONE_SNAPSHOT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
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
