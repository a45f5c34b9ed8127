"""Events stored for many at once: each is committed when its caller hears so, once, or raises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import text

from infra.postgres.database import Database
from infra.postgres.inbox import MOST_AT_ONCE, InboxWriter, NewEvent

STORED = text("SELECT set_aside, body FROM webhook_inbox WHERE event_id = :event_id")
DONE = text(
    "UPDATE webhook_inbox SET status = 'done', processed_at = now() WHERE set_aside = 'a test''s'"
)
TRANSACTIONS = text("SELECT count(DISTINCT xmin::text) FROM webhook_inbox WHERE provider = :name")


def event(name: str, number: int) -> NewEvent:
    """One with bytes that no text has; set aside, so that a loop of another test acts on none."""
    body = b'\x00"{},\\' + name.encode()
    return NewEvent(name, f"evt_{name}_{number}", "x", body, None, quarantine="a test's")


async def stored(database: Database, one: NewEvent) -> list[tuple[str | None, bytes]]:
    async with database.statements() as session:
        rows = await session.all(STORED, event_id=one.event_id)
    return [(row.set_aside, bytes(row.body)) for row in rows]


@pytest.fixture(autouse=True)
async def out_of_the_way(database: Database) -> AsyncIterator[None]:
    yield
    async with database.statements() as session:
        await session.change(DONE)


async def test_those_that_come_during_a_commit_share_the_next(database: Database) -> None:
    name, writer = uuid4().hex, InboxWriter(database)
    events = [event(name, number) for number in range(2 * MOST_AT_ONCE)]

    async def store(one: NewEvent) -> None:
        await writer.store(one)
        # Seen by another connection at the very moment its caller hears of it.
        assert await stored(database, one) == [("a test's", one.body)]

    await asyncio.gather(*map(store, events))
    async with database.statements() as session:
        row = await session.one(TRANSACTIONS, name=name)
    assert row is not None
    assert row.count < len(events) / 4


async def test_the_same_event_is_one_row_however_often_it_comes(database: Database) -> None:
    name = uuid4().hex
    events = [event(name, number % 5) for number in range(60)]
    writers = [InboxWriter(database) for _ in range(3)]
    # Two processes that store the same events in another order must not wait for one another.
    await asyncio.gather(
        *(writers[place % 3].store(one) for place, one in enumerate(events)),
        *(writers[place % 3].store(one) for place, one in enumerate(reversed(events))),
    )
    for one in events[:5]:
        assert await stored(database, one) == [("a test's", one.body)]


async def test_one_who_goes_away_takes_no_other_along(database: Database) -> None:
    name, writer = uuid4().hex, InboxWriter(database)
    gone, stays = event(name, 1), event(name, 2)
    going = asyncio.ensure_future(writer.store(gone))
    staying = asyncio.ensure_future(writer.store(stays))
    await asyncio.sleep(0)
    going.cancel()
    await staying
    assert await stored(database, stays)
    with pytest.raises(asyncio.CancelledError):
        await going


async def test_what_could_not_be_committed_is_raised_to_each(database: Database) -> None:
    name, writer = uuid4().hex, InboxWriter(database)
    bad = NewEvent(name, f"evt_{name}_bad", "\x00", b"{}", None)
    ends = await asyncio.gather(
        writer.store(bad), writer.store(event(name, 1)), return_exceptions=True
    )
    assert all(isinstance(end, psycopg.Error) for end in ends)
    await writer.store(event(name, 1))
