"""A saga on real PostgreSQL, Redis, Temporal and a real sandbox provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.service import RPCError

from domain.payment_policy import PaymentMode
from infra.gateways.sandbox import SandboxGateway
from infra.postgres.database import Database
from infra.redis.seat_claims import RedisSeatPreclaims
from services import reconcile_books
from tests.factories import Hall, create_hall
from tests.helpers.promises import WilfulGateway
from tests.helpers.saga import Saga
from tests.sandbox.process import Sandbox, running_sandbox


@pytest.fixture(autouse=True)
def told_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison tells of other tests' payments too, and they must not crowd out these."""
    monkeypatch.setattr(reconcile_books, "TOLD_AT_MOST", 10_000)


@pytest.fixture(autouse=True)
async def nothing_is_open(temporal: Client) -> None:
    """What tests before left open this one's worker would be handed, and try on and on."""
    async for left in temporal.list_workflows("ExecutionStatus = 'Running'"):
        handle = temporal.get_workflow_handle(left.id, run_id=left.run_id)
        with suppress(RPCError):  # It has ended since.
            await handle.terminate()


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """The provider's own process; it sends no webhooks here: the tests tell the saga."""
    with running_sandbox(tmp_path_factory.mktemp("provider") / "sandbox.sqlite") as sandbox:
        yield sandbox


@pytest.fixture
async def saga(
    engine: AsyncEngine, database: Database, redis: Redis, temporal: Client, provider: Sandbox
) -> AsyncIterator[Saga]:
    gateway = SandboxGateway(provider.url)
    yield Saga(engine, database, temporal, RedisSeatPreclaims(redis), {gateway.name: gateway})
    await gateway.aclose()


@pytest.fixture
async def worker(saga: Saga) -> AsyncIterator[None]:
    async with saga.worker():
        yield


@pytest.fixture
async def hall(engine: AsyncEngine) -> Hall:
    """Two days before the show, when a refund gives everything back."""
    return await create_hall(engine, starts_in_hours=48)


@pytest.fixture
async def gateway(provider: Sandbox) -> AsyncIterator[WilfulGateway]:
    gateway = WilfulGateway(provider.url)
    yield gateway
    await gateway.aclose()


@pytest.fixture
def promising(
    engine: AsyncEngine,
    database: Database,
    redis: Redis,
    temporal: Client,
    gateway: WilfulGateway,
) -> Saga:
    """A deployment in mode ``authorise``."""
    gateways = {gateway.name: gateway}
    preclaims = RedisSeatPreclaims(redis)
    return Saga(engine, database, temporal, preclaims, gateways, PaymentMode.AUTHORISE)
