"""Around every request: its id, headers of every answer, one log line, a count; the last catch."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from uuid import UUID, uuid4

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from api.errors import CODE_OF_STATUS, answer_to
from api.middleware.client import Network, address_of
from api.middleware.context import RequestInfo, current_request
from api.middleware.metrics import Metrics
from api.problems import problem
from infra.tokens import Principal

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
NO_STORE = (b"cache-control", b"no-store")
# On every answer that does not say otherwise itself, as pages do: nothing may run.
SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (
        b"content-security-policy",
        b"default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
HSTS = (b"strict-transport-security", b"max-age=63072000; includeSubDomains")
Header = tuple[bytes, bytes]
UNMATCHED = "unmatched"
# Asked every few seconds by machines that look after us: counted, not logged.
QUIET = frozenset({"/healthz", "/readyz", "/metrics"})

log = structlog.get_logger("api.access")


class RequestFrame:
    """The outermost layer of ours; nothing that a request does gets past it as an exception."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        *,
        trusted_proxies: Sequence[Network] = (),
        safe: Sequence[Header] = SAFE,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._trusted = trusted_proxies
        self._safe = safe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        client = address_of(scope, self._trusted)
        token = current_request.set(RequestInfo(request_id, scope["path"], client))
        bound = bind_contextvars(request_id=request_id)
        try:
            await self._answer(scope, receive, send, request_id)
        finally:
            reset_contextvars(**bound)
            current_request.reset(token)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started = time.perf_counter()
        status = 0
        own = self._own_headers(scope["path"])

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    *(header for header in own if header[0] not in given),
                ]
            await send(message)

        try:
            # Every layer compares addresses: what one takes for a line's end and another for a
            # part of it gets to none. No address of ours has such a character.
            printable = scope["path"].isprintable()
            app = self._app if printable else problem(404, *CODE_OF_STATUS[404])
            await app(scope, receive, framed)
        except Exception as error:  # noqa: BLE001 -- the API's edge: a client gets an answer
            answer = answer_to(error)
            if status == 0:
                await answer(scope, receive, framed)
        finally:
            self._finish(scope, status, time.perf_counter() - started)

    def _own_headers(self, path: str) -> list[Header]:
        own = [*self._safe]
        if path.startswith("/api/"):
            own.append(NO_STORE)
        return own

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
                **_key_of(scope),
                **_booking_of(scope),
            )


def _key_of(scope: Scope) -> dict[str, str]:
    """The API key that the request was let in with, by its id."""
    principal: Principal | None = scope.get("state", {}).get("principal")
    return {"key_id": str(principal.key.id)} if principal and principal.key else {}


def _booking_of(scope: Scope) -> dict[str, str]:
    """The booking that the address names; what is no id may be anything, and stays out."""
    told = scope.get("path_params", {}).get("booking_id")
    try:
        return {"booking_id": str(UUID(told))} if told else {}
    except ValueError:
        return {}


def safe_headers(*, https: bool) -> tuple[Header, ...]:
    """``https``: the API is reached by TLS only, and browsers are told so."""
    return (*SAFE, HSTS) if https else SAFE


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return str(uuid4())
