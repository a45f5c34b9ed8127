"""A stream's next place is taken once: who comes second is refused and undone."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from psycopg.errors import UniqueViolation
from sqlalchemy import text

from domain.events import Event, EventType
from infra.postgres import event_store
from infra.postgres.database import Database, Session

STREAM = text("SELECT sequence, payload FROM events WHERE aggregate_id = :id ORDER BY sequence")


def logged_in(who: str) -> Event:
    return Event(EventType.USER_REGISTERED, {"who": who})


def add(session: Session, aggregate: UUID, who: str, sequence: int) -> None:
    event_store.append(
        session, aggregate, logged_in(who), actor="test", request_id=None, sequence=sequence
    )


async def add_two(database: Database, first: UUID, second: UUID) -> None:
    async with database.transaction() as session:
        add(session, first, "bob", 0)
        add(session, second, "bob", 0)


async def stream(database: Database, aggregate: UUID) -> list[tuple[int, str]]:
    async with database.statements() as session:
        rows = await session.all(STREAM, id=aggregate)
    return [(row.sequence, row.payload["who"]) for row in rows]


async def test_of_two_who_append_at_one_place_one_is_refused(database: Database) -> None:
    aggregate, other = uuid4(), uuid4()
    async with database.transaction() as session:
        add(session, aggregate, "ada", 0)
    with pytest.raises(UniqueViolation):
        await add_two(database, other, aggregate)
    assert await stream(database, aggregate) == [(1, "ada")]
    assert await stream(database, other) == [], "all of the command is undone"


async def test_events_follow_the_last_one_that_is_there(database: Database) -> None:
    aggregate = uuid4()
    for who in ("ada", "bob", "cy"):
        async with database.transaction() as session:
            await event_store.append_next(
                session, aggregate, logged_in(who), actor="test", request_id="req"
            )
    assert await stream(database, aggregate) == [(1, "ada"), (2, "bob"), (3, "cy")]
