"""Which sessions are over: asked of PostgreSQL twice a second, and told at once by Redis.

An access token lasts ten minutes at most, so only sessions that ended since then matter: few, and
each process knows them all. No request asks anything for it, and none is let through on word older
than ``MAX_AGE_SECONDS``; Redis can only end sessions sooner (ADR 0016).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from uuid import UUID

import psycopg
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.errors import Unauthenticated
from infra.postgres.database import Database
from infra.postgres.session import ENDED, IS_LIVE
from infra.redis.client import end_listener

MAX_AGE_SECONDS = 1.0
PAUSE_SECONDS = 0.4
# From the statement that ends a session to its commit; our transactions are cut off before that.
OVERLAP_SECONDS = 30.0
# Clocks differ, and a token's end is judged by the API's clock.
MARGIN_SECONDS = 60.0
# Beyond this many at once each request asks for its own session: slower, and as safe.
MAX_KNOWN = 100_000
CHANNEL = "seathold:sessions:ended"
RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class EndedSessions:
    """``database`` is best a connection of its own, so that no busy pool keeps the word waiting."""

    def __init__(
        self,
        database: Database,
        redis: Redis,
        *,
        access_seconds: int,
        clock: Callable[[], float] = time.monotonic,
        max_known: int = MAX_KNOWN,
    ) -> None:
        self._database = database
        self._redis = redis
        self._window = access_seconds + MARGIN_SECONDS
        self._clock = clock
        self._max_known = max_known
        self._known: dict[UUID, float] = {}
        self._newest: datetime | None = None
        self._as_of = float("-inf")
        self._under_way: asyncio.Task[None] | None = None
        self._overflowed_until = float("-inf")

    async def require_live(self, session_id: UUID) -> None:
        """Raises Unauthenticated: the session is over. psycopg.Error: the database is away."""
        oldest = self._clock() - MAX_AGE_SECONDS
        while self._as_of < oldest:
            await self.refresh()
        if session_id in self._known:
            raise _over()
        if self._clock() < self._overflowed_until:
            await self._ask_for(session_id)

    async def announce(self, session_ids: Sequence[UUID]) -> None:
        """Tell this process and, as far as Redis can be reached, all others."""
        self._note(session_ids)
        try:
            await self._redis.publish(CHANNEL, " ".join(map(str, session_ids)))
        except RedisError as error:
            log.warning("sessions_not_announced", error=type(error).__name__)

    async def refresh(self) -> None:
        """Ask PostgreSQL; those who ask at the same time share one question."""
        if self._under_way is None:
            self._under_way = asyncio.create_task(self._read())
            self._under_way.add_done_callback(self._is_done)
        # Who goes away must not take the answer from the others.
        await asyncio.shield(self._under_way)

    @asynccontextmanager
    async def kept_fresh(self) -> AsyncIterator[None]:
        """Keep asking and listening for as long as the block lasts."""
        async with AsyncExitStack() as stack:
            # The last question holds a connection,
            # which has to be given back before the pool closes.
            stack.push_async_callback(self._settled)
            for job in (self._keep_reading(), self._keep_listening()):
                task = asyncio.create_task(job)
                stack.push_async_callback(end_listener, task)
            yield

    async def _settled(self) -> None:
        if self._under_way is not None:
            await asyncio.gather(self._under_way, return_exceptions=True)

    def _is_done(self, task: asyncio.Task[None]) -> None:
        self._under_way = None
        if not task.cancelled():
            task.exception()  # each who waits is told; nobody waiting is no news

    async def _read(self) -> None:
        began = self._clock()
        async with self._database.statements() as session:
            rows = await session.all(
                ENDED,
                seconds=self._window,
                newest=self._newest,
                overlap=OVERLAP_SECONDS,
                limit=self._max_known,
            )
        if len(rows) == self._max_known:
            self._overflowed_until = began + self._window
            log.warning("too_many_sessions_ended", known=len(rows))
        if rows:
            self._newest = rows[0].ended_at
        self._note([row.id for row in rows])
        self._as_of = began

    def _note(self, session_ids: Sequence[UUID]) -> None:
        now = self._clock()
        for session_id in session_ids:
            self._known.setdefault(session_id, now)
        if len(self._known) > self._max_known:
            self._overflowed_until = now + self._window
            self._known.clear()
        # In the order in which they came: the first ones are the oldest.
        while self._known and next(iter(self._known.values())) < now - self._window:
            del self._known[next(iter(self._known))]

    async def _ask_for(self, session_id: UUID) -> None:
        async with self._database.statements() as session:
            if await session.one(IS_LIVE, id=session_id) is None:
                raise _over()

    async def _keep_reading(self) -> None:
        failing = False
        while True:
            try:
                await self.refresh()
                failing = False
            except psycopg.Error as error:
                if not failing:
                    log.warning("ended_sessions_unknown", error=type(error).__name__)
                failing = True
            await asyncio.sleep(PAUSE_SECONDS)

    async def _keep_listening(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as news:
                    await news.subscribe(CHANNEL)
                    while True:
                        message = await news.get_message(
                            ignore_subscribe_messages=True, timeout=RETRY_SECONDS
                        )
                        if message is not None:
                            self._note(_ids(message["data"]))
            except RedisError:
                await asyncio.sleep(RETRY_SECONDS)


def _ids(told: bytes) -> list[UUID]:
    try:
        return [UUID(one.decode()) for one in told.split()[:MAX_KNOWN]]
    except ValueError:
        return []


def _over() -> Unauthenticated:
    return Unauthenticated("This session is over; log in again.")
