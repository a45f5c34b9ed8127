"""Every webhook is lost: polling alone confirms 200 paid bookings, none is paid back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from domain.polling import SCHEDULE, PollStep
from domain.steps import BookingInput
from infra.gateways.sandbox import SandboxGateway
from infra.postgres.database import Database
from infra.postgres.work import PostgresWorkQueue
from infra.redis.seat_claims import RedisSeatPreclaims
from loops.edge import repeat
from loops.payment_poll import BATCH, PaymentPollLoop
from tests.factories import create_hall
from tests.helpers.eventually import eventually
from tests.helpers.saga import LIMITS, Saga
from tests.sandbox.process import Sandbox
from tests.workflows.test_booking_paths import pay

MANY = 200
AT_ONCE = 8
# As the real schedule, a hundred times as fast.
FAST = replace(
    SCHEDULE,
    first=SCHEDULE.first / 100,
    steps=tuple(PollStep(step.until, step.every / 100) for step in SCHEDULE.steps),
)
CONFIRMED = "SELECT count(*) FROM bookings WHERE show_id = :show AND state = 'confirmed'"


async def bought(
    saga: Saga, provider: Sandbox, input: BookingInput, turn: asyncio.Semaphore
) -> str:
    """Reserve, check out and pay; nobody is told. The payment's reference."""
    async with turn:
        assert await saga.reserve(input) == "held"
        return pay(provider, await saga.checkout(input))


@pytest.mark.timeout(180)
async def test_two_hundred_bookings_are_confirmed_by_polling(
    engine: AsyncEngine, database: Database, redis: Redis, temporal: Client, provider: Sandbox
) -> None:
    hall = await create_hall(engine, seats=MANY)
    gateway = SandboxGateway(provider.url)
    gateways = {gateway.name: gateway}
    saga = Saga(
        engine, database, temporal, RedisSeatPreclaims(redis), gateways, first_poll=FAST.first
    )
    inputs = [
        hall.input(label, max_live_holds_per_user=MANY, max_seats_per_user_show=MANY)
        for label in hall.labels
    ]
    turn, stop = asyncio.Semaphore(AT_ONCE), asyncio.Event()
    loop = PaymentPollLoop(PostgresWorkQueue(database, LIMITS, FAST), saga.news)
    async with saga.worker():
        polling = asyncio.create_task(
            repeat("payment_poll", loop, full=BATCH, rest_seconds=0.1, stop=stop)
        )
        references = await asyncio.gather(
            *(bought(saga, provider, input, turn) for input in inputs)
        )

        async def all_confirmed() -> bool:
            return await saga.rows(CONFIRMED, show=hall.show_id) == [(MANY,)]

        await eventually(all_confirmed, seconds=60)
        await asyncio.gather(*(saga.handle(input).result() for input in inputs))
        stop.set()
        await polling
    await gateway.aclose()
    ours = await saga.rows(
        "SELECT reference, captured, decision FROM provider_payments"
        " WHERE booking_id = ANY(CAST(:ids AS uuid[]))",
        ids=[UUID(input.booking_id) for input in inputs],
    )
    assert sorted(ours) == sorted((one, 1200, "confirms") for one in references)
    there = provider.get("/test/ledger").json()
    mine = set(references)
    assert [one for one in there["refunds"] if one["payment_id"] in mine] == []
    kept = [one["captured"] - one["refunded"] for one in there["payments"] if one["id"] in mine]
    assert kept == [1200] * MANY
    left = await saga.rows(
        "SELECT count(*) FROM payments JOIN bookings ON bookings.id = booking_id"
        " WHERE show_id = :show AND next_poll_at IS NOT NULL",
        show=hall.show_id,
    )
    assert left == [(0,)], "what is paid is polled no more"
