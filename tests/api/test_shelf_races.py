"""The shelf at its turning points: a read that has just ended, a clock put back, old copies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from api.hot.document import Document
from api.hot.shelf import BESIDE_BYTES, Route, Shelf, Source
from infra.postgres.database import Database, Session
from infra.redis.news import NewsFeed
from infra.redis.shared_copies import Place, SharedCopies
from readmodel.catalogue import Reading

Moment = Callable[[], int]


def source_of(moment: Moment, *, seconds: float = 60) -> Source:
    """A document that tells when it was read, by ``moment``."""

    async def read(_: Session) -> Reading:
        at = moment()
        return Reading({"at": at}, read_at=at)

    name = str(uuid4())
    return Source(
        name=name,
        route=Route.AVAILABILITY,
        place=Place(f"{{{name}}}:copy", f"{{{name}}}:stamp"),
        read=read,
        seconds=seconds,
        cache_control=b"no-store",
        of_seats=True,
    )


async def test_who_joins_a_read_that_has_just_ended_is_given_one_of_his_own(
    database: Database, redis: Redis
) -> None:
    """With Redis away a read ends in the very step in which a request may come in."""
    moments = count(1)
    asked: list[asyncio.Task[Document | None]] = []
    shelf = Shelf(database, SharedCopies(redis), NewsFeed(redis))
    shelf._shared._breaker.failed()
    put = shelf._put

    def put_and_ask(source: Source, copy: object) -> object:
        # Runs in the next step: the read is over by then, and not yet taken from the list.
        asked.append(asyncio.ensure_future(shelf.get(source, read_after=2)))
        shelf._put = put  # type: ignore[method-assign]
        kept = put(source, copy)  # type: ignore[arg-type]
        # Nothing kept, nothing to wait for before a read of one's own.
        shelf._drop(source.name)
        return kept

    shelf._put = put_and_ask  # type: ignore[method-assign,assignment]
    source = source_of(lambda: next(moments))
    first = await shelf.get(source)
    assert first is not None
    assert first.read_at == 1
    [task] = asked
    second = await task
    assert second is not None
    assert second.read_at == 2


@pytest.mark.parametrize("has_redis", [True, False])
async def test_a_database_clock_that_is_put_back_freezes_nothing(
    database: Database, redis: Redis, has_redis: bool
) -> None:
    """As after a failover: what is read now names an earlier moment than what is kept."""
    now = 1000.0
    moments = iter((3_600_000_000, 1_000_000, 2_000_000))
    source = source_of(lambda: next(moments))
    shelf = Shelf(database, SharedCopies(redis), NewsFeed(redis), clock=lambda: now)
    if not has_redis:
        shelf._shared._breaker.failed()
    told = []
    for _ in range(3):
        document = await shelf.get(source)
        assert document is not None
        told.append(document.read_at)
        now += 60
        await redis.delete(source.place.key)
    assert told == [3_600_000_000, 1_000_000, 2_000_000]


async def test_an_older_copy_of_another_process_takes_no_newer_ones_place(
    database: Database, redis: Redis
) -> None:
    now = 1000.0
    moments = iter((1, 2))
    source = source_of(lambda: next(moments))
    feed = NewsFeed(redis)
    feed.is_live = True
    mine, another = (
        Shelf(database, SharedCopies(redis), feed, clock=lambda: now) for _ in range(2)
    )
    assert await another.get(source) is not None
    # Mine could not be kept in Redis, where the other's still is.
    mine._shared._breaker.failed()
    newer = await mine.get(source)
    assert newer is not None
    assert newer.read_at == 2
    mine._shared._breaker.succeeded()
    mine._on_gap()
    # By Redis' clock the other was kept a second before.
    now += 1
    await redis.pexpire(source.place.key, await redis.pttl(source.place.key) - 2000)
    again = await mine.get(source)
    assert again is not None
    assert again.read_at == 2


async def test_what_is_over_is_let_go_and_what_is_not_stays(
    database: Database, redis: Redis
) -> None:
    """A crawler asks for each film, city and day once; the copies of yesterday are of no use."""
    now = 1000.0
    feed = NewsFeed(redis)
    feed.is_live = True
    shelf = Shelf(database, SharedCopies(redis), feed, clock=lambda: now)
    shelf._shared._breaker.failed()
    stays = source_of(lambda: 1, seconds=3600)
    await shelf.get(stays, url="/stays")
    for number in range(200):
        await shelf.get(source_of(lambda: 1, seconds=20), url=f"/{number}")
        now += 1
    assert shelf.ready("/stays", 0) is not None
    assert len(shelf._kept) == len(shelf._by_url) <= 1 + 2 * 20
    assert shelf._size == sum(BESIDE_BYTES + one.document.size for one in shelf._kept.values())
