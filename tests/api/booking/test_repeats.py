"""A keyed reserve asked for again meets its own booking, and no refusal for want of a server."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from infra.postgres.database import Database
from infra.postgres.show import ShowCache
from infra.postgres.uow import PostgresUnitOfWork
from infra.redis.seat_claims import RedisSeatPreclaims
from infra.temporal import TemporalBookingProcess
from services.reserve import Reserver
from tests.api.booking.conftest import Buyer
from tests.factories import Hall
from tests.helpers.accounts import replaced_parts
from tests.helpers.eventually import eventually
from tests.helpers.problems import assert_problem
from tests.helpers.saga import Saga

NOWHERE = "127.0.0.1:1"


@pytest.fixture
async def stranded(database: Database, redis: Redis) -> Reserver:
    """A reserver whose Temporal is away."""
    nowhere = await Client.connect(NOWHERE, lazy=True)
    return Reserver(
        PostgresUnitOfWork(database), RedisSeatPreclaims(redis), TemporalBookingProcess(nowhere)
    )


async def best(buyer: Buyer, hall: Hall, key: str) -> httpx2.Response:
    body = {"show_id": str(hall.show_id), "best_available": {"count": 2}}
    return await buyer.post("/api/booking/reserve", body, Idempotency_Key=key)


async def of(buyer: Buyer) -> list[dict[str, Any]]:
    found = await buyer.get(f"/api/booking/user/{buyer.user['id']}")
    items: list[dict[str, Any]] = found.json()["items"]
    return items


async def forget(engine: AsyncEngine, buyer: Buyer) -> None:
    """As if the API had died before it could answer: the marker stands, its lease is over."""
    async with engine.begin() as connection:
        done = await connection.execute(
            text(
                "UPDATE idempotency_keys SET status = NULL, answer = NULL, content_type = NULL,"
                " lease_until = clock_timestamp() WHERE user_id = :id"
            ),
            {"id": UUID(buyer.user["id"])},
        )
    assert done.rowcount == 1


@pytest.mark.parametrize("away", [1, 3])
async def test_once_temporal_is_back_the_same_key_books_once(
    ada: Buyer, hall: Hall, app: FastAPI, saga: Saga, stranded: Reserver, away: int
) -> None:
    key = uuid4().hex
    with replaced_parts(app, reserver=stranded):
        for _ in range(away):
            answer = await ada.reserve(hall, "A1", Idempotency_Key=key)
            assert_problem(answer, 503, "unavailable")
    async with saga.worker():
        both = await asyncio.gather(
            *(ada.reserve(hall, "A1", Idempotency_Key=key) for _ in range(2))
        )
        assert {answer.status_code for answer in both} <= {201, 202, 409}, both
        again = await ada.reserve(hall, "A1", Idempotency_Key=key)
        assert again.status_code == 201, again.text
    [booking] = await of(ada)
    assert (booking["id"], booking["state"]) == (again.json()["id"], "held")


async def test_two_repeats_that_run_at_once_book_once(
    ada: Buyer, hall: Hall, app: FastAPI, engine: AsyncEngine, saga: Saga, stranded: Reserver
) -> None:
    """Past its lease the marker holds nobody off: the ids do."""
    key = uuid4().hex
    with replaced_parts(app, reserver=stranded):
        assert_problem(await best(ada, hall, key), 503, "unavailable")
    first = asyncio.create_task(best(ada, hall, key))

    async def at_work() -> bool:
        async with engine.begin() as connection:
            done = await connection.execute(
                text(
                    "UPDATE idempotency_keys SET lease_until = clock_timestamp()"
                    " WHERE user_id = :id AND status IS NULL AND lease_until > clock_timestamp()"
                ),
                {"id": UUID(ada.user["id"])},
            )
        return done.rowcount == 1

    await eventually(at_work, seconds=20)
    second = asyncio.create_task(best(ada, hall, key))
    async with saga.worker():
        answers = await asyncio.gather(first, second)
        assert {answer.status_code for answer in answers} <= {201, 202}
        [one, other] = [answer.json() for answer in answers]
        assert one["id"] == other["id"]
        assert one["seats"] == other["seats"]
    assert len(await of(ada)) == 1


async def test_best_available_again_is_the_same_block(
    ada: Buyer, ben: Buyer, hall: Hall, engine: AsyncEngine, saga: Saga
) -> None:
    key = uuid4().hex
    async with saga.worker():
        first = await best(ada, hall, key)
        await forget(engine, ada)
        again = await best(ada, hall, key)
        assert again.status_code == 201, again.text
        assert again.json()["id"] == first.json()["id"]
        assert [seat["label"] for seat in again.json()["seats"]] == ["A1", "A2"]
        await ben.held(hall, "A3")
    assert len(await of(ada)) == 1


async def test_what_was_pending_goes_on_with_its_own_seats(
    ada: Buyer, ben: Buyer, hall: Hall, saga: Saga
) -> None:
    """No worker is there: 202. Asked again, it is the same booking, and no other seat is kept."""
    key = uuid4().hex
    pending = await best(ada, hall, key)
    assert pending.status_code == 202, pending.text
    [listed] = await of(ada)
    assert (listed["id"], listed["state"]) == (pending.json()["id"], "pending")
    again = asyncio.create_task(best(ada, hall, key))
    async with saga.worker():
        answer = await again
        assert answer.status_code == 201, answer.text
        assert answer.json()["id"] == pending.json()["id"]
        assert [seat["label"] for seat in answer.json()["seats"]] == ["A1", "A2"]
        await ben.held(hall, "A3")
    assert len(await of(ada)) == 1


async def test_a_buyer_who_holds_all_that_was_left_is_not_told_that_nothing_is(
    ada: Buyer, ben: Buyer, hall: Hall, engine: AsyncEngine, saga: Saga
) -> None:
    key = uuid4().hex
    async with saga.worker():
        await ben.held(hall, *hall.labels[2:])
        first = await best(ada, hall, key)
        await forget(engine, ada)
        again = await best(ada, hall, key)
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])


async def test_the_end_of_the_sale_does_not_hide_ones_own_booking(
    ada: Buyer, hall: Hall, app: FastAPI, engine: AsyncEngine, database: Database, saga: Saga
) -> None:
    key = uuid4().hex
    async with saga.worker():
        first = await ada.reserve(hall, "A1", Idempotency_Key=key)
    await forget(engine, ada)
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE shows SET status = 'cancelled' WHERE id = :id"), {"id": hall.show_id}
        )
    with replaced_parts(app, shows=ShowCache(database)):
        assert_problem(await ada.reserve(hall, "A2"), 409, "sales_closed")
        again = await ada.reserve(hall, "A1", Idempotency_Key=key)
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
