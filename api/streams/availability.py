"""``GET /api/show/{id}/availability/stream``: the seats as they change, as raw ASGI.

A reader costs its connection and a few words of memory; see ADR 0022.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from uuid import UUID

from starlette.types import Receive, Scope, Send

from api.hot import sources
from api.hot.document import Document, Headers
from api.hot.shelf import Shelf
from api.schemas.common import CANONICAL
from api.streams.hub import Hub
from api.streams.watcher import Watcher, connection_of
from infra.redis.news import News

ROUTE = "/api/show/{show_id}/availability/stream"
PATH = re.compile(rf"/api/show/({CANONICAL.pattern})/availability/stream")
HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class Crowds:
    """How many streams each address has open; ``most`` of 0: as many as it likes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Whether one more may begin; who is let in must ``leave``."""
        if self._most and self._open[address] >= self._most:
            return False
        self._open[address] += 1
        return True

    def leave(self, address: str) -> None:
        self._open[address] -= 1
        if self._open[address] <= 0:
            del self._open[address]


class AvailabilityStreams:
    """The streams of this process, one hub for each show that is watched."""

    def __init__(self, shelf: Shelf, crowds: Crowds) -> None:
        self._shelf = shelf
        self._crowds = crowds
        self._hubs: dict[UUID, Hub] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        shelf.feed.hear(self._on_news, self._on_gap)

    def __len__(self) -> int:
        """How many are open."""
        return sum(len(hub) for hub in self._hubs.values())

    async def answer(
        self, scope: Scope, receive: Receive, send: Send, *, address: str, own: Headers
    ) -> bool:
        """Begin a stream, which then goes on without us.

        False, with nothing done, when there is no such show or the address has enough streams; or
        no connection that could be taken over, as in a process that asks itself.
        """
        found = PATH.fullmatch(scope["path"])
        transport = connection_of(send)
        hub = await self._hub(found[1]) if found is not None and transport is not None else None
        if hub is None or transport is None or not self._crowds.enter(address):
            return False
        watcher, last_event_id = Watcher(transport, hub, address), _last_event_id(scope)
        hub.enter(watcher)
        try:
            # To the end of the request: the server's deadline for it is then over.
            while (await receive()).get("more_body"):
                pass
            await hub.reach(last_event_id or 0)
            headers = [*HEADERS, *own]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            hub.begin(watcher, last_event_id)
        except ConnectionError:
            hub.leave(watcher)
        except BaseException:
            hub.leave(watcher)
            raise
        return True

    def end(self) -> None:
        """End all streams: the process stops."""
        for hub in self._hubs.values():
            hub.end()

    async def _hub(self, show: str) -> Hub | None:
        show_id = UUID(show)
        hub = self._hubs.get(show_id)
        if hub is not None:
            return hub
        source = sources.availability(show_id)

        async def look(read_after: int) -> Document | None:
            return await self._shelf.get(source, read_after=read_after)

        document = await look(0)
        if document is None:
            return None
        hub = self._hubs.get(show_id)
        if hub is None:
            hub = self._hubs[show_id] = Hub(
                document, look, lambda: self._shelf.feed.is_live, self._crowds.leave
            )
            task = asyncio.create_task(self._run(show_id, hub))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return hub

    async def _run(self, show_id: UUID, hub: Hub) -> None:
        try:
            await hub.run()
        finally:
            del self._hubs[show_id]

    def _on_news(self, news: News) -> None:
        if news.kind == "seats":
            for show_id in news.ids:
                if (hub := self._hubs.get(UUID(show_id))) is not None:
                    hub.wake()

    def _on_gap(self) -> None:
        for hub in self._hubs.values():
            hub.wake()


def _last_event_id(scope: Scope) -> int | None:
    """What the reader saw last; None for what is none of our ids."""
    for name, value in scope["headers"]:
        if name == b"last-event-id" and value.isdigit() and len(value) <= 18:
            return int(value)
    return None
