"""What a process knows of ended sessions: never older than a second, whatever Redis says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from uuid import UUID, uuid4

import psycopg
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import Unauthenticated
from infra import ended_sessions
from infra.ended_sessions import CHANNEL, MAX_AGE_SECONDS, EndedSessions
from infra.postgres.database import Database
from infra.redis.client import create_redis
from infra.redis.news import NewsFeed
from infra.settings import Settings
from tests.factories import create_user
from tests.helpers.eventually import eventually

ADD = text("""
INSERT INTO sessions (id, user_id, token_hash, idle_expires_at, expires_at)
VALUES (:id, :user, 'h', now() + interval '1 day', now() + interval '1 day')
""")
END = text("""
UPDATE sessions SET ended_at = clock_timestamp() - make_interval(secs => :ago) WHERE id = :id
""")

FORGET = text("DELETE FROM sessions WHERE id = :id")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def nowhere() -> AsyncIterator[Redis]:
    settings = Settings.model_validate({"redis_url": "redis://127.0.0.1:1/0"})
    redis = create_redis(settings)
    yield redis
    await redis.aclose()


@pytest.fixture
async def open_session(engine: AsyncEngine) -> UUID:
    session_id = uuid4()
    user = await create_user(engine)
    async with engine.begin() as connection:
        await connection.execute(ADD, {"id": session_id, "user": user})
    return session_id


async def end(engine: AsyncEngine, session_id: UUID, *, ago: float = 0) -> None:
    async with engine.begin() as connection:
        await connection.execute(END, {"id": session_id, "ago": ago})


async def is_over(ended: EndedSessions, session_id: UUID) -> bool:
    try:
        await ended.require_live(session_id)
    except Unauthenticated:
        return True
    return False


async def test_without_redis_an_ended_session_is_refused_a_second_later(
    database: Database, nowhere: Redis, engine: AsyncEngine, open_session: UUID, clock: Clock
) -> None:
    ended = EndedSessions(database, nowhere, access_seconds=600, clock=clock)
    assert not await is_over(ended, open_session)
    await end(engine, open_session)
    clock.now += MAX_AGE_SECONDS - 0.01
    assert not await is_over(ended, open_session), "the control: so old may its word be"
    clock.now += 0.02
    assert await is_over(ended, open_session)


async def test_while_the_word_is_fresh_the_database_is_not_asked(
    database: Database, nowhere: Redis, open_session: UUID, clock: Clock
) -> None:
    asked = 0

    class Counted(EndedSessions):
        async def _read(self) -> None:
            nonlocal asked
            asked += 1
            await super()._read()

    ended = Counted(database, nowhere, access_seconds=600, clock=clock)
    await asyncio.gather(*(ended.require_live(open_session) for _ in range(50)))
    assert asked == 1
    for _ in range(50):
        await ended.require_live(open_session)
    assert asked == 1


async def test_another_process_hears_of_it_at_once(
    database: Database, redis: Redis, open_session: UUID, clock: Clock
) -> None:
    """Only by Redis: the clock stands still, so neither asks the database again."""
    here = EndedSessions(database, redis, access_seconds=600, clock=clock)
    there = EndedSessions(database, redis, access_seconds=600, clock=clock)
    async with there.kept_fresh():
        await there.require_live(open_session)

        async def heard() -> bool:
            await here.announce([open_session])  # it may not be listening yet
            return await is_over(there, open_session)

        await eventually(heard)
    assert await is_over(here, open_session)


async def test_redis_can_only_end_sessions(
    database: Database, redis: Redis, engine: AsyncEngine, open_session: UUID, clock: Clock
) -> None:
    ended = EndedSessions(database, redis, access_seconds=600, clock=clock)
    await end(engine, open_session)
    async with ended.kept_fresh():
        for told in (b"", b"garbage", b"\xff", str(uuid4()).encode()):
            await redis.publish(CHANNEL, told)
        await redis.flushdb()
        assert await is_over(ended, open_session)


async def test_a_commit_that_takes_long_is_still_heard_of(
    database: Database, nowhere: Redis, engine: AsyncEngine, open_session: UUID, clock: Clock
) -> None:
    ended = EndedSessions(database, nowhere, access_seconds=600, clock=clock)
    other = uuid4()
    user = await create_user(engine)
    async with engine.begin() as connection:
        await connection.execute(ADD, {"id": other, "user": user})
    await end(engine, other)
    assert await is_over(ended, other), "the newest end that it knows"
    # Ended before that one, committed after it was read.
    await end(engine, open_session, ago=ended_sessions.OVERLAP_SECONDS - 5)
    clock.now += 2 * MAX_AGE_SECONDS
    assert await is_over(ended, open_session)


async def test_a_failover_to_a_clock_that_is_behind_hides_no_end(
    database: Database, nowhere: Redis, engine: AsyncEngine, open_session: UUID, clock: Clock
) -> None:
    ended = EndedSessions(database, nowhere, access_seconds=600, clock=clock)
    ahead = uuid4()
    user = await create_user(engine)
    async with engine.begin() as connection:
        await connection.execute(ADD, {"id": ahead, "user": user})
    await end(engine, ahead, ago=-300)
    assert await is_over(ended, ahead), "the newest end that it knows"
    async with engine.begin() as connection:
        await connection.execute(FORGET, {"id": ahead})
    # The new server may have been there for others a while before it was for us.
    await end(engine, open_session, ago=ended_sessions.OVERLAP_SECONDS + 30)
    clock.now += 2 * MAX_AGE_SECONDS
    assert await is_over(ended, open_session)


async def test_a_database_that_is_away_lets_nobody_in(
    settings: Settings, nowhere: Redis, open_session: UUID, clock: Clock
) -> None:
    url = SecretStr("postgresql://x:x@127.0.0.1:1/x")
    away = Database(settings.model_copy(update={"database_url": url}))
    ended = EndedSessions(away, nowhere, access_seconds=600, clock=clock)
    with pytest.raises(psycopg.OperationalError):
        await ended.require_live(open_session)
    await away.close()


async def test_too_many_to_know_are_asked_for_one_by_one(
    database: Database,
    nowhere: Redis,
    engine: AsyncEngine,
    open_session: UUID,
    clock: Clock,
) -> None:
    ended = EndedSessions(database, nowhere, access_seconds=600, clock=clock, max_known=2)
    await ended.announce([uuid4() for _ in range(5)])
    assert not await is_over(ended, open_session)
    await end(engine, open_session, ago=590)
    assert await is_over(ended, open_session)


async def test_what_no_token_can_name_any_more_is_forgotten(
    database: Database, nowhere: Redis, clock: Clock
) -> None:
    ended = EndedSessions(database, nowhere, access_seconds=600, clock=clock)
    session_id = uuid4()
    await ended.announce([session_id])
    clock.now += 600 + ended_sessions.MARGIN_SECONDS + 1
    await ended.announce([uuid4()])
    assert session_id not in ended._known


@pytest.mark.parametrize("name", ["sessions", "news"])
async def test_listening_ends_at_whatever_moment_it_is_to_end(
    database: Database, settings: Settings, name: str
) -> None:
    """As it connects and subscribes too: a stop then waited for it until it was killed."""
    for turns in range(12):
        redis = create_redis(settings)
        ended = EndedSessions(database, redis, access_seconds=600)
        listening: dict[str, AbstractAsyncContextManager[object]] = {
            "sessions": ended.kept_fresh(),
            "news": NewsFeed(redis).listening(),
        }
        async with asyncio.timeout(5), listening[name]:
            for _ in range(turns):
                await asyncio.sleep(0)
        await redis.aclose()
