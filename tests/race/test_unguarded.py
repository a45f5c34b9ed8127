"""Negative controls: what the race comes to without its guards, and that nobody may start so."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

import worker
from api.app import create_app
from infra.postgres.database import Database, Session
from infra.postgres.engine import create_engine
from infra.postgres.guards import require_guards
from infra.postgres.seat import PostgresSeatClaims
from infra.postgres.uow import PostgresTransaction, PostgresUnitOfWork
from infra.redis.seat_claims import RedisSeatPreclaims
from infra.settings import Settings
from services.ports import Claimed, Taken
from tests.conftest import WORKER
from tests.factories import create_hall
from tests.fixtures import servers
from tests.race.buyers import CONNECTIONS, Ledger, Office, create_users

ROUNDS = 20


class Meeting:
    """Lets nobody on who looked until two have."""

    def __init__(self) -> None:
        self._looked = 0
        self._both = asyncio.Event()

    async def both_looked(self) -> None:
        self._looked += 1
        if self._looked == 2:
            self._both.set()
        await asyncio.wait_for(self._both.wait(), timeout=30)


class CheckThenInsert(PostgresSeatClaims):
    """What everybody writes first: look whether the seat is free, then take it."""

    def __init__(self, session: Session, meeting: Meeting | None) -> None:
        super().__init__(session)
        self._meeting = meeting

    async def claim(
        self, show_id: UUID, labels: Sequence[str], booking_id: UUID
    ) -> Claimed | Taken:
        if found := await self.active(show_id, labels):
            return Taken(tuple(claim.label for claim in found))
        if self._meeting is not None:
            await self._meeting.both_looked()
        await self._session.change(
            text(
                "INSERT INTO seat_claims (show_id, label, state, booking_id)"
                " SELECT :show_id, label, 'held', :booking_id"
                " FROM unnest(CAST(:labels AS text[])) AS asked (label)"
            ),
            show_id=show_id,
            labels=list(labels),
            booking_id=booking_id,
        )
        return Claimed(dict.fromkeys(labels, 1))


class CheckThenInsertUnitOfWork(PostgresUnitOfWork):
    def __init__(self, database: Database, meeting: Meeting | None = None) -> None:
        super().__init__(database)
        self._meeting = meeting

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[PostgresTransaction]:
        async with super().__call__() as tx:
            tx.claims = CheckThenInsert(tx.session, self._meeting)
            yield tx


@pytest.fixture(scope="module")
def unguarded_settings(settings: Settings) -> Settings:
    """Settings of a database of its own, migrated but for the index."""
    url = servers.make_database(os.environ[servers.DATABASE], f"seathold_unguarded_{WORKER}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP INDEX seat_claims_show_label_key")
    redis_url = settings.redis_url.get_secret_value()
    return servers.settings_for(url, redis_url, db_pool_size=CONNECTIONS)


@pytest.fixture(scope="module")
async def unguarded_database(unguarded_settings: Settings) -> AsyncIterator[Database]:
    database = Database(unguarded_settings)
    yield database
    await database.close()


@pytest.fixture(scope="module")
async def unguarded(unguarded_settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(unguarded_settings)
    yield engine
    await engine.dispose()


async def test_check_then_insert_without_the_index_sells_a_seat_twice(
    unguarded: AsyncEngine, unguarded_database: Database, dead_preclaims: RedisSeatPreclaims
) -> None:
    office = Office(CheckThenInsertUnitOfWork(unguarded_database), dead_preclaims)
    ledger = Ledger(unguarded)
    for _ in range(ROUNDS):
        hall = await create_hall(unguarded, seats=1)
        users = await create_users(unguarded, CONNECTIONS)
        await office.race([hall.input("A1", user_id=user) for user in users])
        if await ledger.double_sales(hall.show_id):
            return
    pytest.fail("the race of the other tests would not have noticed a double sale")


async def test_the_index_stops_even_check_then_insert(
    engine: AsyncEngine, crowded: Database, dead_preclaims: RedisSeatPreclaims, ledger: Ledger
) -> None:
    office = Office(CheckThenInsertUnitOfWork(crowded, Meeting()), dead_preclaims)
    hall = await create_hall(engine, seats=1)
    inputs = [hall.input("A1", user_id=user) for user in await create_users(engine, CONNECTIONS)]
    await office.request(inputs)
    answers = await asyncio.gather(*map(office.hold, inputs), return_exceptions=True)
    assert any(isinstance(answer, psycopg.IntegrityError) for answer in answers), "nobody raced"
    assert len(await ledger.bookings(hall.show_id)) == 1
    assert await ledger.double_sales(hall.show_id) == 0


async def test_the_claim_itself_fails_without_the_index(
    unguarded: AsyncEngine, unguarded_database: Database, dead_preclaims: RedisSeatPreclaims
) -> None:
    office = Office(PostgresUnitOfWork(unguarded_database), dead_preclaims)
    hall = await create_hall(unguarded)
    with pytest.raises(psycopg.ProgrammingError) as failed:
        await office.race([hall.input("A1")])
    assert failed.value.sqlstate == "42P10"
    assert await Ledger(unguarded).bookings(hall.show_id) == {}


async def test_neither_worker_nor_api_starts_without_the_index(
    unguarded_database: Database, unguarded_settings: Settings, temporal: Client
) -> None:
    with pytest.raises(RuntimeError, match="seat_claims_show_label_key"):
        await require_guards(unguarded_database)
    with pytest.raises(RuntimeError, match="seat_claims_show_label_key"):
        await worker.serve(unguarded_settings, "all", asyncio.Event())
    app = create_app(unguarded_settings)
    with pytest.raises(RuntimeError, match="seat_claims_show_label_key"):
        async with app.router.lifespan_context(app):
            raise AssertionError("it started")


@pytest.mark.parametrize(
    "made",
    [
        "CREATE INDEX {} ON seat_claims (show_id, label)",
        "CREATE UNIQUE INDEX {} ON seat_claims (show_id, label) WHERE state <> 'free'",
        "CREATE UNIQUE INDEX {} ON seat_claims (show_id, label, state)",
        # As it is left by a CREATE INDEX CONCURRENTLY that met a seat that was sold twice.
        """
        CREATE UNIQUE INDEX {} ON seat_claims (show_id, label);
        UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{}'::regclass
        """,
    ],
)
async def test_an_index_of_that_name_is_not_enough(
    unguarded_settings: Settings, unguarded_database: Database, made: str
) -> None:
    index = "seat_claims_show_label_key"
    with psycopg.connect(unguarded_settings.database_url.get_secret_value()) as connection:
        connection.execute("DELETE FROM seat_claims")
        connection.execute(made.format(index, index))
        connection.commit()
    try:
        with pytest.raises(RuntimeError, match=index):
            await require_guards(unguarded_database)
    finally:
        with psycopg.connect(unguarded_settings.database_url.get_secret_value()) as connection:
            connection.execute(f"DROP INDEX {index}")
