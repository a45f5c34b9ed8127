"""A dependency that is away: 503 or 202, never 500, and never a half-made booking."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest
from fastapi import FastAPI
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from infra.postgres.database import Database
from infra.postgres.show import ShowCache
from infra.postgres.uow import PostgresUnitOfWork
from infra.redis.seat_claims import RedisSeatPreclaims
from infra.settings import Settings
from infra.temporal import TemporalBookingProcess
from services.reserve import Reserver
from tests.api.booking.conftest import Buyer
from tests.factories import Hall, create_hall
from tests.helpers.accounts import replaced_parts
from tests.helpers.eventually import eventually
from tests.helpers.problems import assert_problem
from tests.helpers.relay import Relay
from tests.helpers.saga import Saga
from tests.sandbox.process import Sandbox

NOWHERE = "127.0.0.1:1"


@pytest.fixture
def dead_redis() -> Redis:
    return Redis.from_url(
        f"redis://{NOWHERE}/0", retry=Retry(NoBackoff(), 0), socket_connect_timeout=0.2
    )


async def test_with_redis_away_postgresql_turns_losers_away(
    ada: Buyer,
    ben: Buyer,
    hall: Hall,
    app: FastAPI,
    database: Database,
    dead_redis: Redis,
    saga: Saga,
) -> None:
    parts = app.state.parts
    without = Reserver(
        PostgresUnitOfWork(database),
        RedisSeatPreclaims(dead_redis),
        TemporalBookingProcess(parts.temporal),
    )
    with replaced_parts(app, reserver=without):
        async with saga.worker():
            await ada.held(hall, "A1")
        refused = assert_problem(await ben.reserve(hall, "A1"), 409, "seats_unavailable")
    assert refused["seats"] == ["A1"]


async def test_with_temporal_away_nothing_is_held(
    ada: Buyer, ben: Buyer, hall: Hall, app: FastAPI, database: Database, redis: Redis, saga: Saga
) -> None:
    nowhere = await Client.connect(NOWHERE, lazy=True)
    without = Reserver(
        PostgresUnitOfWork(database), RedisSeatPreclaims(redis), TemporalBookingProcess(nowhere)
    )
    with replaced_parts(app, reserver=without):
        answer = await ada.reserve(hall, "A1", Idempotency_Key="temporal-away")
    assert_problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"]
    async with saga.worker():
        booking = await ben.held(hall, "A1")
    assert booking["state"] == "held"


@pytest.mark.parametrize(
    ("verb", "about_it"), [("{id}/extend", False), ("{id}/cancel", False), ("confirm", True)]
)
async def test_with_temporal_away_a_held_booking_stays_as_it_is(
    ada: Buyer, engine: AsyncEngine, app: FastAPI, saga: Saga, verb: str, about_it: bool
) -> None:
    hall = await create_hall(engine, price=0)
    async with saga.worker():
        booking = await ada.held(hall, "A1")
    nowhere = TemporalBookingProcess(await Client.connect(NOWHERE, lazy=True))
    path = f"/api/booking/{verb.format_map(booking)}"
    body = {"booking_id": booking["id"]} if about_it else {}
    with replaced_parts(app, desk=replace(saga, process_of=lambda _: nowhere).desk):
        answer = await ada.post(path, body)
    assert_problem(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    found = (await ada.get(f"/api/booking/{booking['id']}")).json()
    assert (found["state"], found["hold"]["extensions_left"]) == ("held", 2)
    async with saga.worker():
        again = await ada.post(path, body)
    assert again.status_code == 200, again.text


async def test_an_extension_that_cannot_be_is_refused_without_temporal(
    ada: Buyer, hall: Hall, app: FastAPI, saga: Saga
) -> None:
    """Each would cost it a workflow task, and a booking takes 2,000 updates in all."""
    async with saga.worker():
        spent, paying = await ada.held(hall, "A1"), await ada.held(hall, "A2")
        for _ in range(2):
            assert (await ada.post(f"/api/booking/{spent['id']}/extend")).status_code == 200
        await ada.checkout(paying)
        cancelled = await ada.held(hall, "A3")
        assert (await ada.post(f"/api/booking/{cancelled['id']}/cancel")).status_code == 200
    nowhere = TemporalBookingProcess(await Client.connect(NOWHERE, lazy=True))
    with replaced_parts(app, desk=replace(saga, process_of=lambda _: nowhere).desk):
        for booking, code in (
            (spent, "extension_limit"),
            (paying, "payment_open"),
            (cancelled, "invalid_state"),
        ):
            assert_problem(await ada.post(f"/api/booking/{booking['id']}/extend"), 409, code)


async def test_with_no_worker_the_outcome_is_pending_and_settles(
    ada: Buyer, hall: Hall, saga: Saga
) -> None:
    answer = await ada.reserve(hall, "A1")
    assert answer.status_code == 202, answer.text
    assert answer.headers["retry-after"]
    booking = answer.json()
    assert booking["state"] == "pending"
    assert [seat["label"] for seat in booking["seats"]] == ["A1"]

    async def settled() -> bool:
        found = await ada.get(f"/api/booking/{booking['id']}")
        return bool(found.json()["state"] == "held")

    async with saga.worker():
        await eventually(settled, seconds=20)


async def test_with_postgresql_away_every_route_is_unavailable(
    ada: Buyer, hall: Hall, app: FastAPI, settings: Settings
) -> None:
    nowhere = settings.model_copy(
        update={"database_url": type(settings.database_url)(f"postgresql://x:y@{NOWHERE}/z")}
    )
    dead = Database(nowhere)
    parts = app.state.parts
    without = Reserver(
        PostgresUnitOfWork(dead), parts.reserver._preclaims, TemporalBookingProcess(parts.temporal)
    )
    with replaced_parts(app, database=dead, shows=ShowCache(dead), reserver=without):
        for answer in (
            await ada.reserve(hall),
            await ada.get("/api/movies"),
            await ada.get(f"/api/booking/{UUID(int=1)}"),
        ):
            assert_problem(answer, 503, "unavailable")
            assert answer.headers["retry-after"]
    await dead.close()


async def test_while_postgresql_says_nothing_nobody_is_kept_waiting(
    ada: Buyer, app: FastAPI, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many ask: each is told so, and when it speaks again so do we."""
    monkeypatch.setattr("infra.postgres.pipeline.ANSWER_SECONDS", 0.5)
    monkeypatch.setattr("infra.postgres.engine.POOL_SECONDS", 1.0)
    async with Relay.to(settings.database_url.get_secret_value()) as line:
        url = type(settings.database_url)(line.url)
        silent = Database(settings.model_copy(update={"database_url": url}))
        with replaced_parts(app, database=silent):
            assert (await ada.get("/api/theatres")).status_code == 200
            line.speaks.clear()
            async with asyncio.timeout(20):
                answers = await asyncio.gather(*(ada.get("/api/theatres") for _ in range(40)))
            for answer in answers:
                assert_problem(answer, 503, "unavailable")
                assert answer.headers["retry-after"]
            line.speaks.set()
            assert (await ada.get("/api/theatres")).status_code == 200
        await silent.close()


async def test_with_the_provider_away_checkout_may_be_repeated(
    ada: Buyer, hall: Hall, provider: Sandbox, saga: Saga
) -> None:
    async with saga.worker():
        booking = await ada.held(hall)
    provider.configure(error_rate=1.0)
    try:
        answer = await ada.checkout(booking)
        assert_problem(answer, 503, "unavailable")
    finally:
        provider.configure(error_rate=0.0)
    again = await ada.checkout(booking)
    assert again.status_code in (200, 201)
    assert again.json()["payment"]["session_id"]
