"""The way for what crowds ask: what is ready is sent before any framework sees the request.

It does what the frame does around every request, at a tenth of the price: an id, the headers of
every answer, a count; of many answers it logs one.
"""

from __future__ import annotations

import time
from itertools import count
from uuid import uuid4

import structlog
from starlette.types import Receive, Scope, Send

from api.hot.document import READ_AFTER, read_after, url_of
from api.hot.door import Door
from api.hot.shelf import Shelf
from api.middleware.frame import REQUEST_ID
from api.middleware.metrics import Metrics
from api.queries.etag import is_kept
from api.streams.availability import AvailabilityStreams

LOGGED_ONE_IN = 100

log = structlog.get_logger("api.access")


class Front:
    """``shelf`` and ``streams`` are there once the app has started."""

    def __init__(self, metrics: Metrics, door: Door) -> None:
        self.shelf: Shelf | None = None
        self.streams: AvailabilityStreams | None = None
        self._door = door
        self._metrics = metrics
        self._answered = count()

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Whether the request was answered; nothing was done with it if not."""
        if self.shelf is None or self.streams is None or scope["method"] != "GET":
            return False
        started = time.perf_counter()
        after, encodings, request_id, tags = _wishes(scope)
        own = [(b"x-request-id", request_id or str(uuid4()).encode())]
        is_stream = scope["path"].endswith("/stream")
        kept = None if is_stream else self.shelf.ready(url_of(scope), after)
        if kept is None and not is_stream or (safe := self._door.admit(scope)) is None:
            return False
        own += safe
        if kept is None:
            address = self._door.whose(scope)
            return await self.streams.answer(scope, receive, send, address=address, own=own)
        form = kept.document.form_for(encodings)
        status, headers, body = 200, form.headers, form.body
        if tags and is_kept(form.tag, tags):
            status, headers, body = 304, form.kept, b""
        await send({"type": "http.response.start", "status": status, "headers": headers + own})
        await send({"type": "http.response.body", "body": body})
        self._finish(kept.source.route, own[0][1], status, time.perf_counter() - started)
        return True

    def _finish(self, route: str, request_id: bytes, status: int, seconds: float) -> None:
        self._metrics.observe("GET", route, status, seconds)
        if next(self._answered) % LOGGED_ONE_IN == 0:
            log.info(
                "request",
                method="GET",
                route=route,
                status=status,
                ms=round(seconds * 1000, 2),
                request_id=request_id.decode(),
                one_in=LOGGED_ONE_IN,
            )


def _wishes(scope: Scope) -> tuple[int, bytes, bytes, list[str]]:
    """What of the headers matters: read after, encodings, request id, tags of copies."""
    after, encodings, request_id = 0, b"", b""
    tags: list[str] = []
    for name, value in scope["headers"]:
        if name == b"if-none-match":
            tags.append(value.decode("latin-1"))
        elif name == b"accept-encoding":
            encodings = value
        elif name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            request_id = value
        elif name == READ_AFTER:
            after = read_after(value)
    return after, encodings, request_id, tags
