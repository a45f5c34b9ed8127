"""What was read from PostgreSQL, kept for all processes: whoever finds it missing reads it alone.

Speed only. With Redis away every process reads for itself.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from infra.redis.client import Breaker

# Who reads for all and dies keeps the others waiting this long.
LEASE_MS = 3000
POLL_SECONDS = 0.02
STORE = (Path(__file__).parent / "scripts" / "store.lua").read_text(encoding="utf-8")

REDIS_AWAY = (RedisError, OSError)
Read = Callable[[], Awaitable[tuple[bytes, float]]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a copy lies, and the key whose change makes it worthless (``infra.redis.news``).

    Both keys carry the same hash tag.
    """

    key: str
    stamp: str


@dataclass(frozen=True, slots=True)
class Copy:
    """``seconds``: how long it may still be kept; ``age``: since it was stored (0: just now)."""

    content: bytes
    seconds: float
    age: float


@dataclass(frozen=True, slots=True)
class _Turn:
    """It is on us to read: under this lock, and while this stamp stands."""

    lock: str
    token: str
    stamp: bytes


class SharedCopies:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._breaker = Breaker()
        self._store = redis.register_script(STORE)

    async def fetch(self, place: Place, read: Read, is_good: Callable[[Copy], bool]) -> Copy:
        """The kept copy if ``is_good``, else what ``read`` gives, kept for its seconds.

        Of all callers in all processes one reads; the others wait for its answer.
        """
        turn: Copy | _Turn | None = None
        if self._breaker.allows():
            try:
                turn = await self._wait(place, is_good)
                self._breaker.succeeded()
            except REDIS_AWAY:
                self._breaker.failed()
        if isinstance(turn, Copy):
            return turn
        try:
            content, seconds = await read()
        except BaseException:
            await self._keep(place, turn, b"", 0)
            raise
        await self._keep(place, turn, content, seconds)
        return Copy(content, seconds, 0)

    async def _wait(self, place: Place, is_good: Callable[[Copy], bool]) -> Copy | _Turn | None:
        """A good copy, or our turn to read; None when whose turn it is lets us wait too long."""
        token, lock = secrets.token_hex(8), place.key + ":lock"
        give_up_at = time.monotonic() + LEASE_MS / 1000
        while True:
            _, found = await self._look(place)
            if found is not None and is_good(found):
                return found
            if await self._redis.set(lock, token, nx=True, px=LEASE_MS):
                # Somebody may have stored it between our look and our lock.
                stamp, found = await self._look(place)
                if found is None or not is_good(found):
                    return _Turn(lock, token, stamp)
                await self._redis.delete(lock)
                return found
            # After the look: a busy process may be back from its sleep late, and the copy be there.
            if time.monotonic() >= give_up_at:
                return None
            await asyncio.sleep(POLL_SECONDS)

    async def _look(self, place: Place) -> tuple[bytes, Copy | None]:
        """The present stamp, and the copy if it was read under it."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.mget(place.stamp, place.key)
            pipe.pttl(place.key)
            (stamp, whole), left_ms = await pipe.execute()
        stamp = stamp or b""
        if whole is None:
            return stamp, None
        read_under, life_ms, content = whole.split(b"\n", 2)
        if read_under != stamp:
            return stamp, None
        return stamp, Copy(content, left_ms / 1000, (int(life_ms) - left_ms) / 1000)

    async def _keep(self, place: Place, turn: _Turn | None, content: bytes, seconds: float) -> None:
        """Store it and end the turn. A stamp that changed meanwhile makes it worthless at once."""
        if turn is None:
            return
        life_ms = int(seconds * 1000)
        whole = b"\n".join((turn.stamp, b"%d" % life_ms, content))
        try:
            await self._store([place.key, turn.lock], (turn.token, whole, life_ms))
        except REDIS_AWAY:
            self._breaker.failed()
