"""A pool wide enough for a crowd, and a Redis that nobody answers."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from infra.postgres.database import Database
from infra.postgres.uow import PostgresUnitOfWork
from infra.redis.client import create_redis
from infra.redis.seat_claims import RedisSeatPreclaims
from infra.settings import Settings
from tests.factories import Hall, create_hall
from tests.helpers.saga import Saga
from tests.race.buyers import CONNECTIONS, Ledger, Office


@pytest.fixture(scope="session")
async def crowded(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings.model_copy(update={"db_pool_size": CONNECTIONS}))
    yield database
    await database.close()


@pytest.fixture(scope="session")
async def dead_preclaims(settings: Settings) -> AsyncIterator[RedisSeatPreclaims]:
    """Its port is bound and never listened on, so that nobody else can come to answer there."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{unheard.getsockname()[1]}/0"
        async with create_redis(
            settings.model_copy(update={"redis_url": SecretStr(url)})
        ) as client:
            yield RedisSeatPreclaims(client)


@pytest.fixture(scope="session")
def preclaims(redis: Redis) -> RedisSeatPreclaims:
    return RedisSeatPreclaims(redis)


@pytest.fixture(scope="session")
def office(crowded: Database, dead_preclaims: RedisSeatPreclaims) -> Office:
    """PostgreSQL alone decides here."""
    return Office(PostgresUnitOfWork(crowded), dead_preclaims)


@pytest.fixture(scope="session")
def ledger(engine: AsyncEngine) -> Ledger:
    return Ledger(engine)


@pytest.fixture
def saga(
    engine: AsyncEngine, crowded: Database, temporal: Client, preclaims: RedisSeatPreclaims
) -> Saga:
    """No provider: nobody here gets as far as paying."""
    return Saga(engine, crowded, temporal, preclaims, {})


@pytest.fixture
async def hall(engine: AsyncEngine) -> Hall:
    return await create_hall(engine)
