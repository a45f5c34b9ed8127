"""A sold-out show costs Temporal nothing, whether Redis is fresh, loaded anew, flushed or away."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from contracts.booking import SHOW_ID
from domain.errors import Conflict
from domain.steps import BookingInput, HoldOutcome
from infra.postgres.database import Database
from infra.postgres.uow import PostgresUnitOfWork
from infra.redis.seat_claims import LOADED_SECONDS, SOLD_SECONDS, RedisSeatPreclaims
from infra.temporal import TemporalBookingProcess
from services.preclaim import Lost, NotLoaded, SeatPreclaims, Won
from services.reserve import Reserver
from tests.factories import Hall, create_hall
from tests.helpers.catalogue import run
from tests.helpers.hall import Hall as Marks
from tests.race.buyers import Ledger, Office, bounded, create_users

RESERVES = 1000
SEATS = 8
SHORT = timedelta(seconds=0.5)
# As holds stand whose pay pages are being closed: they may be paid yet.
PAST_THEIR_END = """
UPDATE bookings SET lapses = false, hold_expires_at = now(), hold_max_expires_at = now()
WHERE show_id = :id AND state = 'held'
"""


@dataclass
class CountedProcess(TemporalBookingProcess):
    """The real process; ``started`` are the bookings it was asked to start."""

    client: Client
    started: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.client)

    async def reserve(self, input: BookingInput) -> HoldOutcome:
        self.started.append(input.booking_id)
        return await super().reserve(input)


class FlushedOften(RedisSeatPreclaims):
    """Loses everything before every third claim."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self._server = redis
        self._asked = 0

    async def claim(
        self, show_id: UUID, labels: Sequence[str], token: UUID
    ) -> Won | Lost | NotLoaded:
        self._asked += 1
        if self._asked % 3 == 0:
            await self._server.flushdb()
        return await super().claim(show_id, labels, token)


@pytest.fixture
async def sold_out(engine: AsyncEngine, office: Office) -> Hall:
    """Half of the seats are sold, half of them held."""
    hall = await create_hall(engine, seats=SEATS)
    users = await create_users(engine, SEATS)
    for number, (label, user_id) in enumerate(zip(hall.labels, users, strict=True)):
        held = await office.held(hall.input(label, user_id=user_id))
        if number % 2:
            await office.sell(held)
    return hall


@pytest.fixture
def process(temporal: Client) -> CountedProcess:
    return CountedProcess(temporal)


async def refuse_all(
    crowded: Database, preclaims: SeatPreclaims, process: CountedProcess, hall: Hall
) -> None:
    reserver = Reserver(PostgresUnitOfWork(crowded), preclaims, process)
    dice = random.Random(1)
    inputs = [
        hall.input(*dice.sample(hall.labels, dice.randint(1, 3)), user_id=str(uuid4()))
        for _ in range(RESERVES)
    ]
    answers = await bounded(partial(reserver.reserve, key_hash=None, body_hash=b""), inputs, 20)
    for one, answer in zip(inputs, answers, strict=True):
        assert isinstance(answer, Conflict), answer
        assert answer.code == "seats_unavailable"
        assert set(answer.data["seats"]) == {seat.label for seat in one.seats}


async def require_nothing_started(
    process: CountedProcess, ledger: Ledger, hall: Hall, temporal: Client
) -> None:
    assert process.started == []
    assert await ledger.requests(hall.show_id) == SEATS, "a request was written for a loser"
    found = await temporal.count_workflows(f"{SHOW_ID.name} = '{hall.show_id}'")
    assert found.count == 0


@pytest.mark.parametrize("state", ["fresh", "loaded anew", "flushed", "held past their end"])
async def test_no_workflow_while_redis_is_there(
    engine: AsyncEngine,
    crowded: Database,
    redis: Redis,
    preclaims: RedisSeatPreclaims,
    process: CountedProcess,
    sold_out: Hall,
    ledger: Ledger,
    temporal: Client,
    state: str,
) -> None:
    if state == "held past their end":
        await run(engine, PAST_THEIR_END, id=sold_out.show_id)
    if state == "flushed":
        await refuse_all(crowded, preclaims, process, sold_out)
        await redis.flushdb()
    if state == "loaded anew":
        marks = Marks(redis, sold_out.show_id)
        for seconds in (LOADED_SECONDS, SOLD_SECONDS - LOADED_SECONDS):
            await refuse_all(crowded, preclaims, process, sold_out)
            await marks.later(seconds)
        assert await preclaims.taken(sold_out.show_id, ["A1"]) == {"A1"}, "it is still loaded"
    await refuse_all(crowded, preclaims, process, sold_out)
    await require_nothing_started(process, ledger, sold_out, temporal)


async def test_no_workflow_while_redis_is_flushed_again_and_again(
    crowded: Database,
    redis: Redis,
    process: CountedProcess,
    sold_out: Hall,
    ledger: Ledger,
    temporal: Client,
) -> None:
    """A flush between loading a show and asking it once more leaves PostgreSQL to answer."""
    await refuse_all(crowded, FlushedOften(redis), process, sold_out)
    await require_nothing_started(process, ledger, sold_out, temporal)


async def test_no_workflow_while_redis_is_away(
    crowded: Database,
    dead_preclaims: RedisSeatPreclaims,
    process: CountedProcess,
    sold_out: Hall,
    ledger: Ledger,
    temporal: Client,
) -> None:
    await refuse_all(crowded, dead_preclaims, process, sold_out)
    await require_nothing_started(process, ledger, sold_out, temporal)


async def test_a_seat_that_is_free_does_start_a_workflow(
    engine: AsyncEngine,
    crowded: Database,
    preclaims: RedisSeatPreclaims,
    process: CountedProcess,
) -> None:
    """So that the zeros above mean something: nobody works here, so the answer is unknown."""
    hall = await create_hall(engine)
    reserver = Reserver(PostgresUnitOfWork(crowded), preclaims, process)
    input = hall.input("A1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("infra.temporal.RPC_TIMEOUT", SHORT)
        assert await reserver.reserve(input, key_hash=None, body_hash=b"") == "pending"
    assert process.started == [input.booking_id]
