"""What changed, told to every process that reads: one channel, and a stamp for each thing.

The stamp outlives the message: a shared copy that was read under another stamp is no copy any
more. A message that is lost only delays, for copies are short-lived where nobody listens.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from infra.redis.client import end_listener

CHANNEL = "seathold:news"
# Longer than anything lives that was read under a stamp: one that is gone cannot come true again.
STAMP_SECONDS = 3600
# A quiet connection is asked this often whether it is still one.
QUIET_SECONDS = 5.0
RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class News:
    """``kind``: ``seats`` (of a show) or ``show`` (anything else about it); whom it is about.

    ``ids``: the show's, and for ``show`` its film's.
    """

    kind: str
    ids: frozenset[str]


def seats_stamp(show_id: UUID | str) -> str:
    """The key whose value changes whenever seats of the show change hands."""
    return f"{{show:{show_id}}}:changes"


def show_stamp(show_id: UUID | str) -> str:
    """The key whose value changes with anything else about the show: its price, its times."""
    return f"{{show:{show_id}}}:edits"


def movie_stamp(movie_id: UUID | str) -> str:
    """The key whose value changes with anything about any show of the film but its seats."""
    return f"{{movie:{movie_id}}}:edits"


class Newsroom:
    """Tells what the staff changed; seat changes are told by the scripts that mark the seats."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def show_changed(self, show_id: UUID, movie_id: UUID) -> None:
        """Call it after the commit. Redis being away only delays what readers see."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for stamp in (show_stamp(show_id), movie_stamp(movie_id)):
                    pipe.set(stamp, secrets.token_hex(8), ex=STAMP_SECONDS)
                pipe.publish(CHANNEL, f"show:{show_id}:{movie_id}")
                await pipe.execute()
        except (RedisError, OSError):
            log.warning("news_not_told", show_id=str(show_id))


class NewsFeed:
    """One subscription a process. ``is_live`` is false while messages may be missed."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._hearers: list[Callable[[News], None]] = []
        self._gap_hearers: list[Callable[[], None]] = []
        self.is_live = False

    def hear(self, on_news: Callable[[News], None], on_gap: Callable[[], None]) -> None:
        """``on_gap``: anything may have changed since the last message."""
        self._hearers.append(on_news)
        self._gap_hearers.append(on_gap)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[NewsFeed]:
        """Listen while the block runs; a lost connection is made again."""
        task = asyncio.create_task(self._run())
        try:
            yield self
        finally:
            await end_listener(task)

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except (RedisError, OSError) as error:
                if self.is_live:
                    log.warning("news_lost", error=type(error).__name__)
            finally:
                self.is_live = False
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        async with self._redis.pubsub() as pubsub:
            await pubsub.subscribe(CHANNEL)
            asked = False
            while True:
                message = await pubsub.get_message(timeout=QUIET_SECONDS)
                if message is not None:
                    asked = False
                    self._take(message)
                elif asked:
                    raise ConnectionError("the subscription does not answer")
                else:
                    await pubsub.ping()
                    asked = True

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self.is_live = True
            for gap in self._gap_hearers:
                gap()
        elif message["type"] == "message":
            kind, *ids = message["data"].decode().split(":")
            for hearer in self._hearers:
                hearer(News(kind, frozenset(ids)))
