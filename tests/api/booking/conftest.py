"""The API with a worker and the real sandbox provider beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from api.app import create_app
from infra.gateways.sandbox import SandboxGateway
from infra.postgres.database import Database
from infra.redis.seat_claims import RedisSeatPreclaims
from infra.settings import Settings
from tests.factories import Hall, create_hall
from tests.helpers.accounts import RegisterUser
from tests.helpers.eventually import eventually
from tests.helpers.saga import Saga
from tests.sandbox.process import Sandbox, running_sandbox

Json = dict[str, Any]


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory.mktemp("provider") / "sandbox.sqlite") as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
async def app(
    settings: Settings, engine: AsyncEngine, redis: Redis, provider: Sandbox
) -> AsyncIterator[FastAPI]:
    app = create_app(settings.model_copy(update={"sandbox_url": provider.url}))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture(scope="session")
async def saga(
    engine: AsyncEngine, database: Database, redis: Redis, temporal: Client, provider: Sandbox
) -> AsyncIterator[Saga]:
    gateway = SandboxGateway(provider.url)
    yield Saga(engine, database, temporal, RedisSeatPreclaims(redis), {gateway.name: gateway})
    await gateway.aclose()


@pytest.fixture(scope="module")
async def worker(saga: Saga) -> AsyncIterator[None]:
    async with saga.worker():
        yield


@pytest.fixture
async def hall(engine: AsyncEngine) -> Hall:
    return await create_hall(engine)


@dataclass
class Buyer:
    """A signed-in account at the API."""

    client: httpx2.AsyncClient
    headers: dict[str, str]
    user: Json

    async def post(self, path: str, body: object = None, **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(
            path, json=body if body is not None else {}, headers={**self.headers, **named}
        )

    async def get(self, path: str, **params: Any) -> httpx2.Response:
        return await self.client.get(path, params=params, headers=self.headers)

    async def reserve(self, hall: Hall, *seats: object, **headers: str) -> httpx2.Response:
        body = {"show_id": str(hall.show_id), "seats": list(seats) or ["A1", "A2"]}
        return await self.post("/api/booking/reserve", body, **headers)

    async def held(self, hall: Hall, *seats: object) -> Json:
        """A held booking; a 202 (of a busy machine) is waited out, as a client would."""
        answer = await self.reserve(hall, *seats)
        assert answer.status_code in (201, 202), answer.text
        path = f"/api/booking/{answer.json()['id']}"

        async def held() -> bool:
            return bool((await self.get(path)).json()["state"] == "held")

        await eventually(held, seconds=60, message="the booking was not held")
        booking: Json = (await self.get(path)).json()
        return booking

    async def checkout(self, booking: Json) -> httpx2.Response:
        return await self.post(f"/api/booking/{booking['id']}/checkout", {"provider": "sandbox"})

    async def confirm(self, booking: Json, wait: float = 10) -> httpx2.Response:
        path = f"/api/booking/confirm?wait={wait}"
        return await self.post(path, {"booking_id": booking["id"]})


@pytest.fixture
async def ada(client: httpx2.AsyncClient, register_user: RegisterUser) -> Buyer:
    user, headers = await register_user()
    return Buyer(client, headers, user)


@pytest.fixture
async def ben(client: httpx2.AsyncClient, register_user: RegisterUser) -> Buyer:
    user, headers = await register_user()
    return Buyer(client, headers, user)
