"""From where each account was opened of late: tries from there are not counted among strangers'.

Kept in Redis, so that all processes know; in this process for when Redis is away. Neither accounts
nor addresses can be read there: both are keyed hashes. A place is an address as limits count it.
"""

from __future__ import annotations

import hmac
import time

from redis.asyncio import Redis
from redis.exceptions import RedisError

from infra.keys import KeyRing
from infra.rate_limits import LocalCounts
from infra.redis.client import Breaker

PREFIX = "places:"
SECONDS = 30 * 24 * 3600
# Of one account, the latest: who once knew the password cannot have made the world known.
MOST = 16


class KnownPlaces:
    def __init__(self, redis: Redis, ring: KeyRing) -> None:
        self._redis = redis
        self._secret = ring.secrets("seathold known place 1")[0]
        self._breaker = Breaker()
        self._here = LocalCounts()

    async def knows(self, account: str, place: str) -> bool:
        """Whether the account was opened from there within ``SECONDS``."""
        key, member = self._names(account, place)
        if self._breaker.allows():
            try:
                seen: float | None = await self._redis.zscore(key, member)
            except (RedisError, OSError):
                self._breaker.failed()
            else:
                self._breaker.succeeded()
                return seen is not None and seen > time.time() - SECONDS
        return self._here.get(key + member) > 0

    async def remember(self, account: str, place: str, *, alone: bool = False) -> None:
        """It was opened from there; ``alone``: Redis, if it is there, knows no other any longer."""
        key, member = self._names(account, place)
        now = time.time()
        self._here.put(key + member, 1, now + SECONDS)
        if not self._breaker.allows():
            return
        try:
            async with self._redis.pipeline() as pipe:
                if alone:
                    pipe.delete(key)
                pipe.zadd(key, {member: now})
                pipe.zremrangebyrank(key, 0, -MOST - 1)
                pipe.expire(key, SECONDS)
                await pipe.execute()
        except (RedisError, OSError):
            self._breaker.failed()
        else:
            self._breaker.succeeded()

    def _names(self, account: str, place: str) -> tuple[str, str]:
        return PREFIX + self._hash(account), self._hash(f"{account} {place}")

    def _hash(self, text: str) -> str:
        return hmac.digest(self._secret, text.encode(), "sha256")[:16].hex()
