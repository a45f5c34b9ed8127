"""A street of bookings on real PostgreSQL and Redis, with the sandbox's own application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from infra.gateways.sandbox import SandboxGateway
from infra.postgres.database import Database
from infra.redis.seat_claims import RedisSeatPreclaims
from seathold.standins.sandbox.main import create_app
from seathold.standins.sandbox.store import Store
from tests.helpers.saga import LATE, Saga
from tests.sandbox.process import SECRET
from tests.sequences.street import EVERYTHING, DirectProcess, Street

URL = "http://sandbox.test"


@pytest.fixture
async def street(
    engine: AsyncEngine, database: Database, redis: Redis, temporal: Client, tmp_path: Path
) -> AsyncIterator[Street]:
    store = Store(tmp_path / "sandbox.sqlite")
    app = create_app(store, "", SECRET, public_url=URL)
    gateway = SandboxGateway(URL, httpx2.ASGITransport(app))
    saga = Saga(
        engine,
        database,
        temporal,
        RedisSeatPreclaims(redis),
        {gateway.name: gateway},
        process_of=DirectProcess,
        late=replace(LATE, max_seats_per_user_show=EVERYTHING),
    )
    assert isinstance(saga.process, DirectProcess)
    yield Street(saga, saga.process, store)
    store.close()
    await gateway.aclose()
