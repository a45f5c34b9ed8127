"""Rate limits: who may ask how often. The strategies are those of ``limits``."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import limits
from limits.aio.strategies import FixedWindowRateLimiter as SharedLimiter
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter as LocalLimiter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from infra.redis.client import Breaker
from infra.redis.rate_counts import RedisCounts

# Windows a process keeps; a stranger with more addresses than this ends his own oldest ones.
MAX_WINDOWS = 100_000


@dataclass(frozen=True, slots=True)
class Policy:
    """At most ``quota`` requests in ``seconds``, counted from the first of them."""

    name: str
    quota: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Hit:
    """One request to be counted under ``policy`` for ``who``."""

    policy: Policy
    who: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How a window stands after a hit."""

    policy: Policy
    remaining: int
    reset_seconds: int
    is_over: bool = False


class LocalCounts(Storage):
    """Windows of this process, the newest ``MAX_WINDOWS`` of them.

    The library's own storage looks at every window on every hit, which a stranger with many
    addresses would make dear.
    """

    STORAGE_SCHEME = None

    def __init__(self, most: int = MAX_WINDOWS) -> None:
        super().__init__()
        self._most = most
        self._windows: OrderedDict[str, tuple[int, float]] = OrderedDict()

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        now = time.time()
        count, ends = self._windows.get(key, (0, 0.0))
        if ends <= now:
            count, ends = 0, now + expiry
        self.put(key, count + amount, ends)
        return count + amount

    def put(self, key: str, count: int, ends: float) -> None:
        self._windows[key] = count, ends
        self._windows.move_to_end(key)
        if len(self._windows) > self._most:
            self._windows.popitem(last=False)

    def get(self, key: str) -> int:
        count, ends = self._windows.get(key, (0, 0.0))
        return count if ends > time.time() else 0

    def get_expiry(self, key: str) -> float:
        return self._windows.get(key, (0, time.time()))[1]

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)


class RateLimits:
    """Counts in this process or in Redis; without Redis in this process, never not at all."""

    def __init__(self, redis: Redis) -> None:
        self._breaker = Breaker()
        self._shared_counts = RedisCounts(redis)
        self._shared = SharedLimiter(self._shared_counts)
        self._local = LocalLimiter(LocalCounts())
        # Windows that are known to be full: until they end, saying so again needs no Redis.
        self._full = LocalCounts()

    def here(self, *hits: Hit) -> Standing:
        """Count in this process alone; how the tightest window stands."""
        return _tightest([_standing(hit.policy, *self._count_here(hit)) for hit in hits])

    async def everywhere(self, *hits: Hit) -> Standing:
        """Count for all processes, in one round trip; how the tightest window stands.

        A request that one window refuses still counts in the others.
        """
        full = [found for hit in hits if (found := self.known_full(hit)) is not None]
        if full:
            return _tightest(full)
        if not self._breaker.allows():
            return self._without_redis(hits)
        try:
            standings = await asyncio.gather(*(self._hit_everywhere(hit) for hit in hits))
        except (RedisError, OSError):
            self._breaker.failed()
            return self._without_redis(hits)
        self._breaker.succeeded()
        return _tightest(standings)

    def _count_here(self, hit: Hit) -> tuple[bool, float, int]:
        item = _item(hit.policy)
        fits = self._local.hit(item, hit.who)
        return fits, *self._local.get_window_stats(item, hit.who)

    def _without_redis(self, hits: Sequence[Hit]) -> Standing:
        return _tightest([self._noted(hit, *self._count_here(hit)) for hit in hits])

    async def _hit_everywhere(self, hit: Hit) -> Standing:
        item = _item(hit.policy)
        fits = await self._shared.hit(item, hit.who)
        return self._noted(hit, fits, *await self._shared.get_window_stats(item, hit.who))

    def _noted(self, hit: Hit, fits: bool, ends: float, remaining: int) -> Standing:
        """What is full is remembered: some only ask ``known_full`` beforehand."""
        if not fits:
            self._full.put(_item(hit.policy).key_for(hit.who), 1, ends)
        return _standing(hit.policy, fits, ends, remaining)

    def known_full(self, hit: Hit) -> Standing | None:
        """How the window stands that this process knows to be full; counts nothing."""
        key = _item(hit.policy).key_for(hit.who)
        if not self._full.get(key):
            return None
        return _standing(hit.policy, False, self._full.get_expiry(key), 0)


@cache
def _item(policy: Policy) -> limits.RateLimitItem:
    return limits.RateLimitItemPerSecond(policy.quota, policy.seconds, namespace=policy.name)


def _standing(policy: Policy, fits: bool, ends: float, remaining: int) -> Standing:
    left = max(1, math.ceil(ends - time.time()))
    return Standing(policy, max(0, remaining), left, is_over=not fits)


def _tightest(standings: Sequence[Standing]) -> Standing:
    """Of those that are over the last to end; if none is, the one with the least left."""
    over = [standing for standing in standings if standing.is_over]
    if over:
        return max(over, key=lambda standing: standing.reset_seconds)
    return min(standings, key=lambda standing: standing.remaining)
