"""What is of no more use goes; what still protects somebody stays."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.postgres.database import Database
from infra.postgres.work import PostgresWorkQueue
from loops.sweep import SweepLoop
from tests.factories import create_user
from tests.helpers.saga import LIMITS

ADD_KEY = text("""
INSERT INTO idempotency_keys (user_id, route, key_hash, body_hash, lease_until, owner, created_at)
VALUES (:user, :route, 'k', 'b', now(), :user, now() - make_interval(hours => :hours))
""")
ADD_SESSION = text("""
INSERT INTO sessions (id, user_id, token_hash, idle_expires_at, expires_at, ended_at)
VALUES (:id, :user, 'h', now() + make_interval(hours => :hours),
        now() + make_interval(hours => :hours), CASE WHEN :ended THEN now() END)
""")
ADD_TOKEN = text("""
INSERT INTO account_tokens (id, user_id, purpose, token_hash, expires_at)
VALUES (:id, :user, 'reset_password', CAST(CAST(:id AS text) AS bytea),
        now() + make_interval(hours => :hours))
""")
LEFT = text("""
SELECT route AS name FROM idempotency_keys WHERE user_id = :user
UNION ALL SELECT CAST(id AS text) FROM sessions WHERE user_id = :user
UNION ALL SELECT CAST(id AS text) FROM account_tokens WHERE user_id = :user
""")


@pytest.fixture
async def user(engine: AsyncEngine) -> UUID:
    return await create_user(engine)


async def left(engine: AsyncEngine, user: UUID) -> set[str]:
    async with engine.connect() as connection:
        return set(await connection.scalars(LEFT, {"user": user}))


async def test_old_answers_go_and_young_ones_stay(
    engine: AsyncEngine, database: Database, user: UUID
) -> None:
    async with engine.begin() as connection:
        for route, hours in (("old", 25), ("young", 23)):
            await connection.execute(ADD_KEY, {"user": user, "route": route, "hours": hours})
    await SweepLoop(PostgresWorkQueue(database, LIMITS)).one_pass()
    assert await left(engine, user) == {"young"}


async def test_an_ended_session_stays_while_a_token_of_it_could_live(
    engine: AsyncEngine, database: Database, user: UUID
) -> None:
    over, ended, live = uuid4(), uuid4(), uuid4()
    async with engine.begin() as connection:
        for id_, hours, is_ended in ((over, -2, False), (ended, 1, True), (live, 1, False)):
            values = {"id": id_, "user": user, "hours": hours, "ended": is_ended}
            await connection.execute(ADD_SESSION, values)
    await SweepLoop(PostgresWorkQueue(database, LIMITS)).one_pass()
    assert await left(engine, user) == {str(ended), str(live)}


async def test_mailed_tokens_go_a_day_after_they_ended(
    engine: AsyncEngine, database: Database, user: UUID
) -> None:
    old, young = uuid4(), uuid4()
    async with engine.begin() as connection:
        for id_, hours in ((old, -25), (young, -23)):
            await connection.execute(ADD_TOKEN, {"id": id_, "user": user, "hours": hours})
    await SweepLoop(PostgresWorkQueue(database, LIMITS)).one_pass()
    assert await left(engine, user) == {str(young)}
