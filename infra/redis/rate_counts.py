"""Counts of rate limits in Redis: those of one turn of the loop travel in one round trip."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from pathlib import Path

from limits.aio.storage import Storage
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

HIT = (Path(__file__).parent / "scripts" / "hit.lua").read_text(encoding="utf-8")
PREFIX = "limit:"
# What a process remembers of windows; each is needed again within the same request only.
MAX_REMEMBERED = 10_000

_Asked = tuple[str, int, asyncio.Future[int]]


class RedisCounts(Storage):
    """A storage for the strategies of ``limits``; how a window stands is known from its hit.

    A count is one atomic script, so any number of processes share a limit exactly.
    """

    STORAGE_SCHEME = None

    def __init__(self, redis: Redis) -> None:
        super().__init__()
        self._redis = redis
        self._script = redis.register_script(HIT)
        self._asked: list[_Asked] = []
        self._seen: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._flights: set[asyncio.Task[None]] = set()

    @property
    def base_exceptions(self) -> type[Exception]:
        return RedisError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Raises RedisError, OSError: Redis is away, or refuses."""
        loop = asyncio.get_running_loop()
        count: asyncio.Future[int] = loop.create_future()
        self._asked.append((key, expiry, count))
        if len(self._asked) == 1:
            loop.call_soon(self._depart)
        return await count

    async def get(self, key: str) -> int:
        return self._seen.get(key, (0, 0.0))[0]

    async def get_expiry(self, key: str) -> float:
        return self._seen.get(key, (0, time.time()))[1]

    async def check(self) -> bool:
        return bool(await self._redis.ping())

    async def reset(self) -> int | None:
        raise NotImplementedError("limits end by themselves")

    async def clear(self, key: str) -> None:
        await self._redis.delete(PREFIX + key)

    def _depart(self) -> None:
        asked, self._asked = self._asked, []
        flight = asyncio.get_running_loop().create_task(self._fly(asked))
        self._flights.add(flight)
        flight.add_done_callback(self._flights.discard)

    async def _fly(self, asked: list[_Asked]) -> None:
        try:
            answers = await self._send(asked)
        except BaseException as error:
            # Whatever it was, nobody may be left waiting.
            for *_, count in asked:
                if not count.done():
                    count.set_exception(error)
            if isinstance(error, RedisError | OSError):
                return
            raise
        now = time.time()
        for (key, _, count), (hits, left_ms) in zip(asked, answers, strict=True):
            self._seen[key] = hits, now + left_ms / 1000
            self._seen.move_to_end(key)
            if not count.done():
                count.set_result(hits)
        while len(self._seen) > MAX_REMEMBERED:
            self._seen.popitem(last=False)

    async def _send(self, asked: list[_Asked]) -> list[tuple[int, int]]:
        """Each count and what its window has left, in ms."""
        try:
            return await self._evaluate(asked)
        except NoScriptError:
            # Redis was started anew. All commands of the pipeline failed alike, so none counted.
            await self._redis.script_load(HIT)
            return await self._evaluate(asked)

    async def _evaluate(self, asked: list[_Asked]) -> list[tuple[int, int]]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for key, seconds, _ in asked:
                pipe.evalsha(self._script.sha, 1, PREFIX + key, seconds)
            answers: list[tuple[int, int]] = await pipe.execute()
        return answers
