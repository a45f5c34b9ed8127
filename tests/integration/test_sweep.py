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
ADD_TOKEN = text("""
INSERT INTO refresh_tokens (id, family_id, user_id, token_hash, expires_at, revoked_at)
VALUES (:id, :family, :user, CAST(CAST(:id AS text) AS bytea),
        now() + make_interval(hours => :hours), CASE WHEN :revoked THEN now() END)
""")
LEFT = text("""
SELECT route AS name FROM idempotency_keys WHERE user_id = :user
UNION ALL SELECT CAST(id AS text) FROM refresh_tokens WHERE user_id = :user
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


async def test_a_revoked_token_stays_while_its_family_could_live(
    engine: AsyncEngine, database: Database, user: UUID
) -> None:
    over, stolen = uuid4(), uuid4()
    tokens = [
        (over, -2, False),
        (over, -1, True),
        (stolen, -1, True),
        (stolen, 1, False),
    ]
    ids = []
    async with engine.begin() as connection:
        for family, hours, revoked in tokens:
            ids.append(uuid4())
            values = {"id": ids[-1], "family": family, "user": user, "hours": hours}
            await connection.execute(ADD_TOKEN, {**values, "revoked": revoked})
    await SweepLoop(PostgresWorkQueue(database, LIMITS)).one_pass()
    assert await left(engine, user) == {str(ids[2]), str(ids[3])}
