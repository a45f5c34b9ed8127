"""The database as the API and the worker use it: SQL run by psycopg, on SQLAlchemy's pool."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import TextClause, event, text
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn

from infra.postgres.engine import create_engine
from infra.postgres.pipeline import Done, Pipeline
from infra.settings import Settings

BEGIN = text("BEGIN")
COMMIT = text("COMMIT")
ROLLBACK = text("ROLLBACK")
PIPELINE = "pipeline"
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

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._waiting: list[_PutOff] = []

    async def all(self, statement: TextClause, /, **values: Any) -> list[Any]:
        return (await self._run(statement, values)).rows

    async def one(self, statement: TextClause, /, **values: Any) -> Any | None:
        """The first row, or None: for what a unique index finds, or what always has one row."""
        rows = (await self._run(statement, values)).rows
        return rows[0] if rows else None

    async def change(self, statement: TextClause, /, **values: Any) -> int:
        """How many rows the statement wrote."""
        return (await self._run(statement, values)).written

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
            await self._run_all()

    async def commit(self) -> None:
        """Run what was put off and commit; together, unless a count could still undo it all."""
        if any(one.changes is not None for one in self._waiting):
            await self.flush()
        await self._run(COMMIT, {})

    async def _run(self, statement: TextClause, values: dict[str, Any]) -> Done:
        self._waiting.append(_PutOff(statement, values))
        return await self._run_all()

    async def _run_all(self) -> Done:
        """Run what was put off in one round trip; what the last of it answered."""
        waiting, self._waiting = self._waiting, []
        try:
            done = await self._pipeline.run([(one.statement, one.values) for one in waiting])
        except psycopg.errors.DivisionByZero as error:
            raise UnexpectedCount("a statement that counts its rows itself") from error
        for one, answer in zip(waiting, done, strict=True):
            one.settle(answer)
        return done[-1]


@dataclass(frozen=True, slots=True)
class _PutOff:
    statement: TextClause
    values: dict[str, Any]
    changes: int | None = None
    asked: Asked[Any] | None = None

    def settle(self, done: Done) -> None:
        """Check what it wrote, or pass on what it read."""
        if self.asked is not None:
            self.asked.answer(done.rows[0] if done.rows else None)
        elif self.changes is not None and done.written != self.changes:
            told = self.statement.text.strip()
            raise UnexpectedCount(f"{done.written} rows, not {self.changes}: {told}")


class Database:
    """At most ``db_pool_size`` connections, each made when it is first needed."""

    def __init__(self, settings: Settings, *, application_name: str = "seathold") -> None:
        self._engine = create_engine(
            settings,
            application_name=application_name,
            # A transaction here begins and ends by statements of its own.
            connect_args={"autocommit": True},
            pool_reset_on_return=None,
            # A statement is planned once on each connection, and planning costs more than running:
            # the fewest connections do all the work they can.
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
        async with self._connection() as pipeline:
            session = Session(pipeline)
            session.later(BEGIN)
            yield session
            await session.commit()  # house: H7 -- this is the edge

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[Session]:
        """Each statement is a transaction of its own."""
        async with self._connection() as pipeline:
            session = Session(pipeline)
            yield session
            await session.flush()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Pipeline]:
        pooled = await self._checked_out()
        connection = cast("psycopg.AsyncConnection[Any]", pooled.driver_connection)
        if (pipeline := pooled.info.get(PIPELINE)) is None:
            pipeline = pooled.info[PIPELINE] = Pipeline(connection)
        try:
            yield pipeline
        except Exception:
            if connection.closed:
                # The server is gone, and with it every connection that is waiting in the pool.
                self._lost_at = time.monotonic()
            elif connection.info.transaction_status is not TransactionStatus.IDLE:
                await pipeline.run([(ROLLBACK, {})])
            raise
        finally:
            await self._give_back(pooled, connection, pipeline)

    async def _checked_out(self) -> PoolProxiedConnection:
        """A connection of the pool, whose errors come out as psycopg's own."""
        try:
            return await self._engine.raw_connection()
        except DBAPIError as error:
            raise (error.orig or error) from error
        except PoolTimeoutError as error:
            raise psycopg.OperationalError("no connection came free in time") from error

    async def _give_back(
        self,
        pooled: PoolProxiedConnection,
        connection: psycopg.AsyncConnection[Any],
        pipeline: Pipeline,
    ) -> None:
        # Lost, or cancelled on the way: closing it makes the server roll back.
        is_clean = connection.info.transaction_status is TransactionStatus.IDLE
        if pipeline.is_worn or not is_clean:
            await greenlet_spawn(pooled.invalidate)
        pooled.close()

    def _refuse_lost(
        self, _: object, entry: ConnectionPoolEntry, __: PoolProxiedConnection
    ) -> None:
        if entry.info["born_at"] <= self._lost_at:
            raise DisconnectionError("as old as a connection that was lost")


def _note_birth(_: object, entry: ConnectionPoolEntry) -> None:
    entry.info["born_at"] = time.monotonic()
