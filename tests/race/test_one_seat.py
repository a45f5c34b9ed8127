"""Two hundred buyers want one seat: exactly one gets it, whoever is asked."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from domain.booking import BookingState
from domain.errors import Conflict
from domain.steps import BookingInput
from infra.postgres.database import Database
from infra.redis.seat_claims import RedisSeatPreclaims
from tests.factories import Hall, create_hall
from tests.helpers.saga import Saga
from tests.race.buyers import Ledger, Office, bounded, create_users

BUYERS = 200
# ``make campaign-race`` sets more of them.
ROUNDS = int(os.environ.get("SEATHOLD_TEST_RACE_ROUNDS", "20"))
# Whole bookings through Redis and Temporal cost several times as much.
RESERVE_ROUNDS = max(1, ROUNDS * 3 // 20)
Record = Callable[[str, object], None]


async def crowd(engine: AsyncEngine, hall: Hall, buyers: int = BUYERS) -> list[BookingInput]:
    users = await create_users(engine, buyers)
    return [hall.input("A1", user_id=user) for user in users]


async def require_one_winner(
    ledger: Ledger, hall: Hall, winners: list[str], record: Record
) -> None:
    """Recorded before it is judged: a campaign counts the breaches too."""
    double_sales = await ledger.double_sales(hall.show_id)
    record("winners", len(winners))
    record("double_sales", double_sales)
    assert len(winners) == 1
    assert await ledger.claims(hall.show_id) == {"A1": ("held", winners[0])}
    assert await ledger.bookings(hall.show_id) == {winners[0]: ("held", 1, 1)}
    assert double_sales == 0


@pytest.mark.parametrize("number", range(ROUNDS))
async def test_postgresql_alone_gives_the_seat_to_one(
    engine: AsyncEngine, office: Office, ledger: Ledger, record_property: Record, number: int
) -> None:
    hall = await create_hall(engine, seats=1)
    inputs = await crowd(engine, hall)
    outcomes = await office.race(inputs)
    won = [one.booking_id for one, out in zip(inputs, outcomes, strict=True) if out.code is None]
    await require_one_winner(ledger, hall, won, record_property)
    refused = [out for out in outcomes if out.state is BookingState.REJECTED]
    assert len(refused) == BUYERS - 1
    assert all((out.code, out.data) == ("seats_unavailable", {"seats": ["A1"]}) for out in refused)
    unsettled = await ledger.rows(
        "SELECT id FROM booking_requests WHERE show_id = :show AND outcome IS NULL",
        show=hall.show_id,
    )
    assert unsettled == []


@pytest.mark.parametrize("number", range(RESERVE_ROUNDS))
async def test_reserve_gives_the_seat_to_one(
    engine: AsyncEngine, saga: Saga, ledger: Ledger, record_property: Record, number: int
) -> None:
    """Redis turns the crowd away; only the winner reaches Temporal."""
    hall = await create_hall(engine, seats=1)
    inputs = await crowd(engine, hall)
    async with saga.worker():
        await _reserve_all(saga, ledger, hall, inputs, record_property)
    assert await ledger.requests(hall.show_id) == 1


async def test_reserve_without_redis_gives_the_seat_to_one(
    engine: AsyncEngine,
    crowded: Database,
    temporal: Client,
    dead_preclaims: RedisSeatPreclaims,
    ledger: Ledger,
    record_property: Record,
) -> None:
    """Many bookings reach the hold step of a workflow of their own; the index decides."""
    saga = Saga(engine, crowded, temporal, dead_preclaims, {})
    hall = await create_hall(engine, seats=1)
    inputs = await crowd(engine, hall, buyers=20)
    async with saga.worker():
        await _reserve_all(saga, ledger, hall, inputs, record_property)
    assert await ledger.requests(hall.show_id) > 1, "nobody raced"


async def _reserve_all(
    saga: Saga, ledger: Ledger, hall: Hall, inputs: list[BookingInput], record: Record
) -> None:
    random.shuffle(inputs)
    answers = await bounded(saga.reserve, inputs, 20)
    won = [one.booking_id for one, got in zip(inputs, answers, strict=True) if got == "held"]
    await require_one_winner(ledger, hall, won, record)
    lost = [answer for answer in answers if isinstance(answer, Conflict)]
    assert len(lost) == len(inputs) - 1, [answer for answer in answers if answer not in lost]
    assert {(error.code, tuple(error.data["seats"])) for error in lost} == {
        ("seats_unavailable", ("A1",))
    }
