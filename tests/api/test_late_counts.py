"""Counts of seats in shows lag by some two seconds, whoever reads them and however seldom."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from api.hot import shelf as module
from api.hot import sources
from api.hot.shelf import Shelf
from infra.postgres.database import Database
from infra.redis.news import NewsFeed
from infra.redis.shared_copies import SharedCopies
from tests.factories import Hall, create_hall
from tests.helpers.catalogue import sell
from tests.helpers.eventually import eventually


class Process:
    """The shelf of one API process; its clock is moved by hand."""

    def __init__(self, database: Database, redis: Redis, feed: NewsFeed) -> None:
        self.now = 1000.0
        self.shelf = Shelf(database, SharedCopies(redis), feed, clock=lambda: self.now)

    async def grow_older(self, redis: Redis, hall: Hall, seconds: float) -> None:
        """Let time pass, for what it keeps and for what is kept in Redis, by Redis' own clock."""
        self.now += seconds
        key = sources.show(hall.show_id).place.key
        await redis.pexpire(key, await redis.pttl(key) - int(seconds * 1000))

    async def available(self, hall: Hall) -> int:
        """As a reader is told, on the fast way or on the long one."""
        kept = self.shelf.ready(f"/{hall.show_id}", 0)
        source = sources.show(hall.show_id)
        document = kept.document if kept else await self.shelf.get(source, url=f"/{hall.show_id}")
        assert document is not None
        seats = document.plain.body.partition(b'"available":')[2]
        return int(seats.partition(b"}")[0])


@pytest.fixture
async def feed(redis: Redis) -> AsyncIterator[NewsFeed]:
    async with NewsFeed(redis).listening() as feed:

        async def is_live() -> bool:
            return feed.is_live

        await eventually(is_live)
        yield feed


async def sold(engine: AsyncEngine, redis: Redis, feed: NewsFeed, hall: Hall) -> None:
    """Once it returns, every process has heard of it."""
    told: list[str] = []
    feed.hear(lambda news: told.extend(news.ids), lambda: None)
    await sell(engine, hall.show_id, redis=redis)

    async def is_told() -> bool:
        return str(hall.show_id) in told

    await eventually(is_told)


async def test_a_process_that_first_reads_after_the_sale_does_not_tell_the_counts_of_before(
    database: Database, engine: AsyncEngine, redis: Redis, feed: NewsFeed
) -> None:
    """What the other keeps in Redis for five minutes lacks a sale that it alone was told of."""
    hall = await create_hall(engine, seats=10)
    early, late = (Process(database, redis, feed) for _ in range(2))
    assert await early.available(hall) == 10
    await sold(engine, redis, feed, hall)
    await late.available(hall)
    await late.grow_older(redis, hall, module.COUNTS_LATEST_SECONDS)
    assert await late.available(hall) == 9


async def test_counts_that_nobody_asked_for_meanwhile_are_not_told_once_more(
    database: Database, engine: AsyncEngine, redis: Redis, feed: NewsFeed
) -> None:
    hall = await create_hall(engine, seats=10)
    process = Process(database, redis, feed)
    assert await process.available(hall) == 10
    await sold(engine, redis, feed, hall)
    await process.grow_older(redis, hall, 60)
    assert await process.available(hall) == 9
