"""Statements by psycopg on a pool: what is committed, what is not, and how a lost server is met."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from infra.postgres.database import Database, UnexpectedCount
from infra.settings import Settings
from tests.conftest import WORKER
from tests.fixtures import servers
from tests.helpers.relay import Relay
from tests.sandbox.process import eventually

ADD = text("INSERT INTO notes VALUES (:id, :words)")
READ = text("SELECT id, words FROM notes ORDER BY id")
NOTHING = text("SELECT id FROM notes WHERE false")
COUNTED = text("""
WITH changed AS (UPDATE notes SET words = 'x' WHERE id = :id RETURNING 1)
SELECT 1 / (count(*) = 1)::int FROM changed
""")
BACKEND = text("SELECT pg_backend_pid() AS pid")
COMMITS = text("SELECT current_setting('synchronous_commit') AS how")
SLEEP = text("SELECT pg_sleep(30)")


@pytest.fixture(scope="module")
def url() -> str:
    url = servers.make_database(os.environ[servers.DATABASE], database_name())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE notes (id int PRIMARY KEY, words text)")
    return url


@pytest.fixture
async def database(url: str, settings: Settings) -> AsyncIterator[Database]:
    """One connection, so that what one test step leaves on it the next would find."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE notes")
    redis_url = settings.redis_url.get_secret_value()
    database = Database(servers.settings_for(url, redis_url, db_pool_size=1))
    yield database
    await database.close()


def whole(row: Any | None) -> Any:
    return tuple(row) if row else None


async def ids(database: Database) -> list[int]:
    async with database.statements() as session:
        return [row.id for row in await session.all(READ)]


@pytest.fixture
def hasty(url: str) -> None:
    """The database's default is to answer before a commit is on disk."""
    with psycopg.connect(url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off".encode())
    with psycopg.connect(url) as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("off",)


async def test_a_commit_is_on_disk_whatever_the_servers_default(
    hasty: None, database: Database
) -> None:
    async with database.transaction() as session:
        row = await session.one(COMMITS)
    assert whole(row) == ("on",)


async def test_a_transaction_is_committed_whole(database: Database) -> None:
    async with database.transaction() as session:
        session.later(ADD, id=1, words="100 % 'quoted'", changes=1)
        session.later(ADD, id=2, words=None)
        found = await session.all(READ)
        session.later(ADD, id=3, words="at the end")
    assert [(row.id, row.words) for row in found] == [(1, "100 % 'quoted'"), (2, None)]
    assert await ids(database) == [1, 2, 3]


async def test_an_error_undoes_all_and_leaves_the_connection_usable(database: Database) -> None:
    async def twice() -> None:
        async with database.transaction() as session:
            session.later(ADD, id=1, words="once")
            session.later(ADD, id=1, words="twice")
            session.later(ADD, id=2, words="never")

    with pytest.raises(psycopg.errors.UniqueViolation):
        await twice()
    assert await ids(database) == []


async def test_another_count_than_was_promised_undoes_all(database: Database) -> None:
    async def surprised() -> None:
        async with database.transaction() as session:
            session.later(ADD, id=1, words="one")
            session.later(text("UPDATE notes SET words = 'x' WHERE id = 7"), changes=1)

    with pytest.raises(UnexpectedCount, match="0 rows, not 1: UPDATE notes"):
        await surprised()
    assert await ids(database) == []


async def test_a_statement_that_counts_for_itself_undoes_all_with_its_commit(
    database: Database,
) -> None:
    """The commit is on its way with it: the server must not have run it."""

    async def surprised() -> None:
        async with database.transaction() as session:
            session.later(ADD, id=1, words="one")
            session.later(COUNTED, id=7)
            session.later(ADD, id=2, words="two")

    with pytest.raises(UnexpectedCount) as failed:
        await surprised()
    (statement,) = getattr(failed.value.__cause__, "__notes__", [""])
    assert "UPDATE notes" in statement
    assert await ids(database) == []


async def test_what_is_asked_soon_comes_with_the_next_answer(database: Database) -> None:
    async with database.transaction() as session:
        session.later(ADD, id=1, words="one")
        asked = session.soon(READ, whole)
        with pytest.raises(RuntimeError):
            _ = asked.value
        session.later(ADD, id=2, words="two")
        assert len(await session.all(READ)) == 2
        assert asked.value == (1, "one")
        last, none = session.soon(READ, whole), session.soon(NOTHING, whole)
    assert (last.value, none.value) == ((1, "one"), None)


async def test_each_statement_alone_is_a_transaction(database: Database) -> None:
    async def half() -> None:
        async with database.statements() as session:
            assert await session.change(ADD, id=1, words="kept") == 1
            await session.change(ADD, id=1, words="refused")

    with pytest.raises(psycopg.errors.UniqueViolation):
        await half()
    assert await ids(database) == [1]


async def test_a_cancelled_transaction_is_undone_and_blocks_nobody(database: Database) -> None:
    started = asyncio.Event()

    async def sleep_in_transaction() -> None:
        async with database.transaction() as session:
            await session.change(ADD, id=1, words="never")
            started.set()
            await session.all(SLEEP)

    task = asyncio.create_task(sleep_in_transaction())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        assert await ids(database) == []


async def test_a_connection_that_has_prepared_enough_is_replaced(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the server would keep what is asked once for as long as the process lives."""

    async def backend() -> int:
        async with database.statements() as session:
            row = await session.one(BACKEND)
            await session.all(READ)
        return int(row.pid) if row else 0

    first = await backend()
    assert await backend() == first
    monkeypatch.setattr("infra.postgres.pipeline.MOST_PREPARED", 2)
    assert await backend() == first
    assert await backend() != first


async def test_a_lost_server_costs_one_error_for_all_connections(
    url: str, settings: Settings
) -> None:
    redis_url = settings.redis_url.get_secret_value()
    database = Database(servers.settings_for(url, redis_url, db_pool_size=4))
    backends = await all_backends(database)
    with psycopg.connect(url, autocommit=True) as connection:
        for pid in backends:
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    with pytest.raises(psycopg.OperationalError):
        await ids(database)
    assert not await all_backends(database) & backends
    await database.close()


@pytest.mark.parametrize("bound", [0.5, None])
async def test_a_server_that_falls_silent_is_given_up(
    url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, bound: float | None
) -> None:
    """Without a bound it is waited for: nothing on the line says that it is gone."""
    monkeypatch.setattr("infra.postgres.pipeline.ANSWER_SECONDS", bound)
    redis_url = settings.redis_url.get_secret_value()
    async with Relay.to(url) as line:
        database = Database(servers.settings_for(line.url, redis_url, db_pool_size=2))
        await both(database)
        line.speaks.clear()
        asked = asyncio.create_task(both(database))
        done, _ = await asyncio.wait([asked], timeout=3)
        assert bool(done) == (bound is not None)
        line.speaks.set()
        if bound is None:
            await asked
        else:
            assert isinstance(asked.exception(), psycopg.OperationalError)
        await both(database)
        await database.close()


async def test_whatever_the_pool_says_is_one_kind_of_error(
    url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_url = settings.redis_url.get_secret_value()
    nowhere = Database(servers.settings_for("postgresql://x:x@127.0.0.1:1/x", redis_url))
    with pytest.raises(psycopg.OperationalError):
        await ids(nowhere)
    await nowhere.close()
    monkeypatch.setattr("infra.postgres.engine.POOL_SECONDS", 0.05)
    database = Database(servers.settings_for(url, redis_url, db_pool_size=1))
    async with database.statements():
        with pytest.raises(psycopg.OperationalError, match="no connection came free"):
            await ids(database)
    await database.close()


async def test_a_cancelled_batch_is_undone_and_blocks_nobody(database: Database) -> None:
    async def sleep_behind_a_write() -> None:
        async with database.transaction() as session:
            session.later(ADD, id=1, words="never")
            await session.all(SLEEP)

    task = asyncio.create_task(sleep_behind_a_write())
    await asyncio.to_thread(sleeping, database_name())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10):
        assert await ids(database) == []


async def both(database: Database) -> None:
    """Ask on two connections at once."""
    await asyncio.gather(ids(database), ids(database))


def database_name() -> str:
    return f"seathold_notes_{WORKER}"


def sleeping(name: str) -> None:
    """Return once a session of that database sleeps."""
    with psycopg.connect(os.environ[servers.DATABASE], autocommit=True) as connection:
        eventually(
            lambda: connection.execute(
                "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event = 'PgSleep'",
                (name,),
            ).fetchone(),
            10,
        )


async def all_backends(database: Database) -> set[int]:
    """The server's processes behind all four connections, which are held at the same time."""
    all_are_here = asyncio.Barrier(4)

    async def one() -> int:
        async with database.statements() as session:
            row = await session.one(BACKEND)
            await all_are_here.wait()
        return int(row.pid) if row else 0

    found = set(await asyncio.gather(*(one() for _ in range(4))))
    assert len(found) == 4
    return found
