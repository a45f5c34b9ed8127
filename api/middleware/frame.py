"""Around every request: its id, headers of every answer, one log line, a count; the last catch."""

from __future__ import annotations

import re
import time
from uuid import uuid4

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from api.errors import answer_to
from api.middleware.context import RequestInfo, current_request
from api.middleware.metrics import Metrics

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
NOSNIFF = (b"x-content-type-options", b"nosniff")
NO_STORE = (b"cache-control", b"no-store")
UNMATCHED = "unmatched"
# Asked every few seconds by machines that look after us: counted, not logged.
QUIET = frozenset({"/healthz", "/readyz", "/metrics"})

log = structlog.get_logger("api.access")


class RequestFrame:
    """The outermost layer of ours; nothing that a request does gets past it as an exception."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        token = current_request.set(RequestInfo(request_id, scope["path"]))
        bound = bind_contextvars(request_id=request_id)
        try:
            await self._answer(scope, receive, send, request_id)
        finally:
            reset_contextvars(**bound)
            current_request.reset(token)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started = time.perf_counter()
        status = 0
        own = [(b"x-request-id", request_id.encode()), NOSNIFF]
        may_default_cache = scope["path"].startswith("/api/")

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message["headers"], *own]
                if may_default_cache and all(name != NO_STORE[0] for name, _ in headers):
                    headers.append(NO_STORE)
                message["headers"] = headers
            await send(message)

        try:
            await self._app(scope, receive, framed)
        except Exception as error:  # noqa: BLE001 -- the API's edge: a client gets an answer
            answer = answer_to(error)
            if status == 0:
                await answer(scope, receive, framed)
        finally:
            self._finish(scope, status, time.perf_counter() - started)

    def _finish(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or UNMATCHED
        # Unknown addresses may come with any word for a method.
        method = scope["method"] if route != UNMATCHED else "ANY"
        self._metrics.observe(method, route, status, seconds)
        if route not in QUIET:
            log.info(
                "request",
                method=scope["method"],
                route=route,
                status=status,
                ms=round(seconds * 1000, 2),
            )


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return str(uuid4())
