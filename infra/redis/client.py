"""The Redis client: a bounded pool that fails fast, and the breaker that keeps failing cheap."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from infra.settings import Settings

# Redis answers in well under a millisecond: who waits longer does better at PostgreSQL.
SOCKET_TIMEOUT_SECONDS = 0.2
POOL_WAIT_SECONDS = 0.5
MAX_CONNECTIONS = 32
BREAKER_SECONDS = 1.0
CANCEL_AGAIN_SECONDS = 0.1

log = structlog.get_logger(__name__)


def create_redis(settings: Settings, *, patience: float = 1.0) -> Redis:
    """Open nothing yet: connections are made on first use, at most ``MAX_CONNECTIONS``.

    ``patience`` multiplies every time-out, for who wants the answer however busy the machine is.
    Answers are bytes. A command on a broken connection is tried once more on a new one, a
    command that timed out is not.
    """
    pool = BlockingConnectionPool.from_url(
        settings.redis_url.get_secret_value(),
        max_connections=MAX_CONNECTIONS,
        timeout=POOL_WAIT_SECONDS * patience,
        socket_timeout=SOCKET_TIMEOUT_SECONDS * patience,
        socket_connect_timeout=SOCKET_TIMEOUT_SECONDS * patience,
        # A pooled connection is stale after a restart of the server, hence the one more try.
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        # Nothing here needs RESP3, and its handshake costs a round trip a connection.
        protocol=2,
        driver_info=None,
    )
    return Redis.from_pool(pool)


async def end_listener(task: asyncio.Task[None]) -> None:
    """Cancel it until it has ended.

    redis-py sends through ``wait_for``, and that of Python 3.11 swallows a cancellation which comes
    as the send is over: whoever waited for the end of it then waited for ever.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_AGAIN_SECONDS)


class Breaker:
    """After a failure says no for ``seconds``, then lets one caller try at a time.

    So a server that is away costs its users nothing, and one that hangs costs one of them a
    time-out a second.
    """

    def __init__(
        self, seconds: float = BREAKER_SECONDS, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._retry_at: float | None = None

    def allows(self) -> bool:
        """Whether to try now; who is told yes must report ``succeeded`` or ``failed``."""
        if self._retry_at is None:
            return True
        now = self._clock()
        if now < self._retry_at:
            return False
        self._retry_at = now + self._seconds
        return True

    def succeeded(self) -> None:
        if self._retry_at is not None:
            log.info("redis_back")
        self._retry_at = None

    def failed(self) -> None:
        if self._retry_at is None:
            log.warning("redis_away", retry_seconds=self._seconds)
        self._retry_at = self._clock() + self._seconds
