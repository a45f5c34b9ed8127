"""The database as the API and the worker use it: SQL run by psycopg, on SQLAlchemy's pool.

SQLAlchemy's execution of a statement costs more CPU than the statement itself: see ADR 0014.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar, cast

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import namedtuple_row
from sqlalchemy import TextClause, event, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn

from infra.postgres.engine import create_engine
from infra.settings import Settings

BEGIN = text("BEGIN")
COMMIT = text("COMMIT")
DIALECT = PGDialect_psycopg()  # type: ignore[no-untyped-call]


T = TypeVar("T")


class UnexpectedCount(Exception):
    """A statement changed another number of rows than it must: a bug, so undo it all."""


class Asked(Generic[T]):
    """What a statement that was put off will tell: see ``services.ports.Soon``."""

    def __init__(self, read: Callable[[Any | None], T]) -> None:
        self._read = read
        self._row: tuple[Any | None] | None = None

    def answer(self, row: Any | None) -> None:
        self._row = (row,)

    @property
    def value(self) -> T:
        if self._row is None:
            raise RuntimeError("nothing was waited for since it was asked")
        return self._read(self._row[0])


class Session:
    """One connection. Rows have their columns as attributes.

    What nobody waits for is put off with ``later`` and travels, in order and in one round trip,
    with the next statement that somebody does wait for.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection
        # What is waited for is read before the next is asked, so one cursor serves them all.
        self._cursor = connection.cursor()
        self._waiting: list[_PutOff] = []

    async def all(self, statement: TextClause, /, **values: Any) -> list[Any]:
        return await (await self._run(statement, values)).fetchall()

    async def one(self, statement: TextClause, /, **values: Any) -> Any | None:
        """The first row, or None: for what a unique index finds, or what always has one row."""
        return await (await self._run(statement, values)).fetchone()

    async def change(self, statement: TextClause, /, **values: Any) -> int:
        """How many rows the statement wrote."""
        return (await self._run(statement, values)).rowcount

    def later(self, statement: TextClause, /, *, changes: int | None = None, **values: Any) -> None:
        """Run it with the next statement, or before the commit at the latest.

        The await that runs it raises ``UnexpectedCount`` unless it wrote ``changes`` rows.
        """
        self._waiting.append(_PutOff(statement, values, changes))

    def soon(
        self, statement: TextClause, read: Callable[[Any | None], T], /, **values: Any
    ) -> Asked[T]:
        """As ``later``; its first row, or None, will be there by way of ``read``."""
        asked = Asked(read)
        self._waiting.append(_PutOff(statement, values, None, asked))
        return asked

    async def flush(self) -> None:
        """Run what was put off."""
        if self._waiting:
            last = self._waiting.pop()
            await last.settle(await self._run(last.statement, last.values))

    async def commit(self) -> None:
        """Run what was put off and commit; together, unless a count could still undo it all."""
        if any(one.changes is not None for one in self._waiting):
            await self.flush()
        await self._run(COMMIT, {})

    async def _run(self, statement: TextClause, values: dict[str, Any]) -> psycopg.AsyncCursor[Any]:
        try:
            if not self._waiting:
                return await self._cursor.execute(_sql(statement), values)
            waiting, self._waiting = self._waiting, []
            async with self._connection.pipeline():
                sent = [
                    (one, await self._connection.execute(_sql(one.statement), one.values))
                    for one in waiting
                ]
                cursor = await self._cursor.execute(_sql(statement), values)
        except psycopg.errors.DivisionByZero as error:
            raise UnexpectedCount("a statement that counts its rows itself") from error
        for one, done in sent:
            await one.settle(done)
        return cursor


@dataclass(frozen=True, slots=True)
class _PutOff:
    statement: TextClause
    values: dict[str, Any]
    changes: int | None
    asked: Asked[Any] | None = None

    async def settle(self, done: psycopg.AsyncCursor[Any]) -> None:
        """Check what it wrote, or pass on what it read."""
        if self.asked is not None:
            self.asked.answer(await done.fetchone())
        elif self.changes is not None and done.rowcount != self.changes:
            told = self.statement.text.strip()
            raise UnexpectedCount(f"{done.rowcount} rows, not {self.changes}: {told}")


class Database:
    """At most ``db_pool_size`` connections, each made when it is first needed."""

    def __init__(self, settings: Settings, *, application_name: str = "seathold") -> None:
        self._engine = create_engine(
            settings,
            application_name=application_name,
            # A transaction here begins and ends by statements of its own.
            connect_args={
                "autocommit": True,
                "row_factory": namedtuple_row,
                "prepare_threshold": 0,
            },
            pool_reset_on_return=None,
            # A statement is planned five times on each connection before its plan is kept, and
            # planning costs more than running: the fewest connections do all the work they can.
            pool_use_lifo=True,
        )
        self._lost_at = 0.0
        event.listen(self._engine.sync_engine, "connect", _note_birth)
        event.listen(self._engine.sync_engine, "checkout", self._refuse_lost)

    async def close(self) -> None:
        await self._engine.dispose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """Commit when the block ends; any error rolls back."""
        async with self._connection() as connection:
            session = Session(connection)
            session.later(BEGIN)
            yield session
            await session.commit()  # house: H7 -- this is the edge

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[Session]:
        """Each statement is a transaction of its own."""
        async with self._connection() as connection:
            session = Session(connection)
            yield session
            await session.flush()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        pooled = await self._checked_out()
        connection = cast("psycopg.AsyncConnection[Any]", pooled.driver_connection)
        try:
            yield connection
        except Exception:
            if connection.closed:
                # The server is gone, and with it every connection that is waiting in the pool.
                self._lost_at = time.monotonic()
            elif connection.info.transaction_status is not TransactionStatus.IDLE:
                await connection.rollback()
            raise
        finally:
            await self._give_back(pooled, connection)

    async def _checked_out(self) -> PoolProxiedConnection:
        """A connection of the pool, whose errors come out as psycopg's own."""
        try:
            return await self._engine.raw_connection()
        except DBAPIError as error:
            raise (error.orig or error) from error
        except PoolTimeoutError as error:
            raise psycopg.OperationalError("no connection came free in time") from error

    async def _give_back(
        self, pooled: PoolProxiedConnection, connection: psycopg.AsyncConnection[Any]
    ) -> None:
        if connection.info.transaction_status is not TransactionStatus.IDLE:
            # Lost, or cancelled on the way: closing it makes the server roll back.
            await greenlet_spawn(pooled.invalidate)
        pooled.close()

    def _refuse_lost(
        self, _: object, entry: ConnectionPoolEntry, __: PoolProxiedConnection
    ) -> None:
        if entry.info["born_at"] <= self._lost_at:
            raise DisconnectionError("as old as a connection that was lost")


def _note_birth(_: object, entry: ConnectionPoolEntry) -> None:
    entry.info["born_at"] = time.monotonic()


@cache
def _sql(statement: TextClause) -> bytes:
    return str(statement.compile(dialect=DIALECT)).encode()
