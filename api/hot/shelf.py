"""This process's copies of what crowds read, by the address they are asked under.

In front of Redis, which is in front of PostgreSQL. News makes a copy untrue at once, or only late
with its counts; the next reader then fetches it anew, one for all (``infra.redis.shared_copies``).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

import orjson
import structlog

from api.hot.document import Document
from infra.postgres.database import Database, Session
from infra.redis.news import News, NewsFeed
from infra.redis.shared_copies import Copy, Place, SharedCopies
from readmodel.bookings import Json
from readmodel.catalogue import Reading

MOST_BYTES = 128 * 1024 * 1024
# What a copy takes beside its body: its names, addresses and headers; 2.5 KB were measured.
BESIDE_BYTES = 2500
# So many of the oldest are looked at for each that comes: more are let go than can pile up.
LOOKED_AT = 2
MOST_URLS_OF_ONE = 8
# Counts that lag behind the seats are read anew after so long, on the side; and not told for longer
# than the second, however long nobody asked.
COUNTS_SECONDS = 2.0
COUNTS_LATEST_SECONDS = 2.5
# How long a copy is trusted while no news comes in.
DEAF_SECONDS = 2.0
# Reading may take at most a tenth of the time, however fast the seats go.
REST = 10.0
TRIES = 3

log = structlog.get_logger(__name__)

ReadFunction = Callable[[Session], Awaitable[Reading | None]]


class Route(StrEnum):
    """What is kept, by templates. It is sent before any guard is asked, so it must be public."""

    AVAILABILITY = "/api/show/{show_id}/availability"
    SHOW = "/api/show/{show_id}"
    SHOWS_OF_MOVIE = "/api/shows/{movie_id}"
    SEAT_MAP = "/api/show/{show_id}/seatmap"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a document comes from and how long it lives.

    Args:
        route: also what the metrics call it.
        seconds: how long a copy lives at most.
        fresh_seconds: one that is older is read anew on the side while it is still sent, so that
            the crowd never waits.
        of_seats: whether news about seats makes it untrue, not only its counts late.
        is_fixed: it never changes, so packing it well pays.
    """

    name: str
    route: Route
    place: Place
    read: ReadFunction
    seconds: float
    cache_control: bytes
    fresh_seconds: float = math.inf
    of_seats: bool = False
    is_fixed: bool = False

    @property
    def most_age(self) -> float:
        """How old another process' copy may be: of seats that changed before, nobody told us."""
        return COUNTS_SECONDS if self.has_counts else self.seconds

    @property
    def has_counts(self) -> bool:
        return not (self.of_seats or self.is_fixed)


@dataclass(slots=True)
class Kept:
    """A document on the shelf; the times are by the process's own clock.

    Args:
        cost: the seconds that reading it from PostgreSQL took.
        told_at: when last there was news about seats that its counts may lack.
    """

    source: Source
    document: Document
    about: frozenset[str]
    read_at: float
    cost: float
    until: float
    refresh_at: float
    told_at: float = 0
    urls: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Flight:
    """A read under way; ``news`` came in meanwhile, so what it brings may lack it."""

    task: asyncio.Task[Kept | None]
    news: set[News] = field(default_factory=set)
    is_deaf: bool = False


class Shelf:
    def __init__(
        self,
        database: Database,
        shared: SharedCopies,
        feed: NewsFeed,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._shared = shared
        self.feed = feed
        self._clock = clock
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._by_url: dict[str, Kept] = {}
        self._flights: dict[str, Flight] = {}
        self._size = 0
        feed.hear(self._on_news, self._on_gap)

    def ready(self, url: str, read_after: int) -> Kept | None:
        """What may be sent at once for this address; late counts are renewed on the side."""
        kept = self._by_url.get(url)
        if kept is None or not self._is_good(kept, read_after):
            return None
        if kept.refresh_at <= self._clock():
            kept.refresh_at = math.inf
            self._fly(kept.source, min(COUNTS_SECONDS, kept.source.fresh_seconds), 0)
        return kept

    async def get(self, source: Source, *, read_after: int = 0, url: str = "") -> Document | None:
        """The document, not older than ``read_after``; None when there is no such thing.

        ``url`` is where ``ready`` will find it from now on.
        """
        kept = self._kept.get(source.name)
        if kept is None or not self._is_good(kept, read_after):
            kept = await self._fetch(source, read_after)
        if kept is None:
            return None
        # It may have been let go while its reader was woken.
        if url and url not in self._by_url and self._kept.get(source.name) is kept:
            # Else a few who make up addresses would keep out the one that the crowd asks under.
            if len(kept.urls) == MOST_URLS_OF_ONE:
                self._by_url.pop(kept.urls.pop(0), None)
            kept.urls.append(url)
            self._by_url[url] = kept
        return kept.document

    async def _fetch(self, source: Source, read_after: int) -> Kept | None:
        if read_after and (old := self._kept.get(source.name)) is not None:
            # Whoever names a moment may wait for a read of his own, not have one at will.
            await asyncio.sleep(max(0.0, old.read_at + REST * old.cost - self._clock()))
        for _ in range(TRIES):
            kept = await asyncio.shield(self._fly(source, source.most_age, read_after).task)
            if kept is None or kept.document.read_at >= read_after:
                break
        return kept

    def _is_good(self, kept: Kept, read_after: int) -> bool:
        now = self._clock()
        if kept.document.read_at < read_after or now >= kept.until:
            return False
        return self.feed.is_live or now < kept.read_at + DEAF_SECONDS

    def _fly(self, source: Source, most_age: float, read_after: int) -> Flight:
        """The read under way for all who wait, or a new one."""
        flight = self._flights.get(source.name)
        # One that is over tells what was known when it began, and its end is told a step later.
        if flight is None or flight.task.done():
            if not self.feed.is_live:
                most_age = min(most_age, DEAF_SECONDS)
            task = asyncio.create_task(self._read(source, most_age, read_after))
            flight = self._flights[source.name] = Flight(task)
            task.add_done_callback(lambda done: self._landed(source.name, done))
        return flight

    def _landed(self, name: str, task: asyncio.Task[Kept | None]) -> None:
        if self._flights[name].task is task:
            del self._flights[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("copy_not_read", name=name, error=type(error).__name__)

    async def _read(self, source: Source, most_age: float, read_after: int) -> Kept | None:
        is_ours = False

        async def read() -> tuple[bytes, float]:
            nonlocal is_ours
            is_ours, began = True, self._clock()
            async with self._database.statements() as session:
                reading = await source.read(session)
            if reading is None:
                return b"", 0
            content = _packed(reading, cost=self._clock() - began)
            return content, min(source.seconds, reading.seconds)

        def is_good(copy: Copy) -> bool:
            return copy.age <= most_age and _head(copy)["read_at"] >= read_after

        copy = await self._shared.fetch(source.place, read, is_good)
        if not copy.content:
            self._drop(source.name)
            return None
        kept, flight = self._put(source, copy), self._flights[source.name]
        if flight.is_deaf:
            kept.until = 0
        if source.has_counts and not is_ours:
            self._lag(kept, kept.read_at)
        for news in flight.news:
            self._apply(news, kept)
        return kept

    def _put(self, source: Source, copy: Copy) -> Kept:
        about, body = _head(copy), copy.content.partition(b"\n")[2]
        document = Document(body, source.cache_control, about["read_at"], about["tag"])
        old = self._kept.get(source.name)
        now = self._clock()
        # By our clock too: the database's is another after a failover, and may be put back.
        if (
            old is not None
            and old.document.read_at > document.read_at
            and old.read_at > now - copy.age
        ):
            return old
        kept = Kept(
            source,
            document,
            frozenset(about["about"]),
            read_at=now - copy.age,
            cost=about["cost"],
            until=now + copy.seconds,
            refresh_at=now - copy.age + source.fresh_seconds,
        )
        self._drop(source.name)
        self._let_go()
        if old is not None:
            kept.urls = old.urls
            if old.told_at > kept.read_at:
                self._lag(kept, old.told_at)
        self._kept[source.name] = kept
        self._by_url.update(dict.fromkeys(kept.urls, kept))
        self._size += BESIDE_BYTES + document.size
        while self._size > MOST_BYTES and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))
        return kept

    def _let_go(self) -> None:
        """What is over and nobody came back for: all news is compared with all that is kept."""
        for name in list(islice(self._kept, LOOKED_AT)):
            if self._kept[name].until <= self._clock():
                self._drop(name)
            else:
                self._kept.move_to_end(name)

    def _drop(self, name: str) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self._size -= BESIDE_BYTES + kept.document.size
            for url in kept.urls:
                self._by_url.pop(url, None)

    def _on_news(self, news: News) -> None:
        for kept in self._kept.values():
            self._apply(news, kept)
        for flight in self._flights.values():
            flight.news.add(news)

    def _apply(self, news: News, kept: Kept) -> None:
        """What the news makes of a copy that was read before it came."""
        if news.ids.isdisjoint(kept.about):
            return
        if news.kind == "show":
            kept.until = 0
        elif kept.source.of_seats:
            kept.until = min(kept.until, kept.read_at + REST * kept.cost)
        else:
            self._lag(kept, self._clock())

    def _lag(self, kept: Kept, told_at: float) -> None:
        """Its counts may lack what has happened by then."""
        kept.told_at = max(kept.told_at, told_at)
        kept.refresh_at = min(kept.refresh_at, kept.read_at + COUNTS_SECONDS)
        kept.until = min(kept.until, told_at + COUNTS_LATEST_SECONDS)

    def _on_gap(self) -> None:
        for kept in self._kept.values():
            kept.until = 0
        for flight in self._flights.values():
            flight.is_deaf = True


def _packed(reading: Reading, *, cost: float) -> bytes:
    """A line about it, then its bytes as they are sent."""
    about = {
        "read_at": reading.read_at,
        "tag": reading.tag,
        "about": reading.about,
        "cost": cost,
    }
    return orjson.dumps(about) + b"\n" + orjson.dumps(reading.content)


def _head(copy: Copy) -> Json:
    about: Json = orjson.loads(copy.content.partition(b"\n")[0])
    return about
