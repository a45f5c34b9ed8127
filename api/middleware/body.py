"""What a body may be, before any route reads it: how large, of which type, of which characters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import CODE_OF_STATUS, MAX_FIELD_CHARACTERS, MAX_FIELD_ERRORS
from api.problems import problem

KIB = 1024
# Bytes, by the start of the path; the first that fits counts.
LIMITS = (
    ("/api/webhooks/", 256 * KIB),
    ("/api/admin/", 8 * KIB * KIB),
    ("/", 64 * KIB),
)
# Providers sign bytes, whatever they call them.
ANY_TYPE = "/api/webhooks/"
JSON = b"application/json"


class BodyRules:
    """Reads a body to its end within its limit, so that routes get it whole or not at all."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused: Response | None = None
        if b"%00" in scope["query_string"]:
            errors = _fields_with_nul(scope["query_string"])
            refused = problem(422, "invalid", "The query has a NUL character.", errors=errors)
        elif (declared := _declared(scope)) is not None:
            receive, refused = await _read(scope, receive, *declared)
        if receive is not gone:
            await (refused or self._app)(scope, receive, send)


def _fields_with_nul(query: bytes) -> list[dict[str, str]]:
    return [
        {
            "in": "query",
            "field": name[:MAX_FIELD_CHARACTERS],
            "message": "It has a NUL character.",
        }
        for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        if "\x00" in name + value
    ][:MAX_FIELD_ERRORS]


async def gone() -> Message:
    """The ``receive`` of a client that has left."""
    return {"type": "http.disconnect"}


def _declared(scope: Scope) -> tuple[int, bytes, bool] | None:
    """The promised length (-1: in chunks, unknown), type, and whether it is packed; None: none."""
    length, media_type, encoding = 0, b"", False
    for name, value in scope["headers"]:
        if name == b"content-length":
            # Longer than any size there is: count what comes instead.
            length = int(value) if value.isdigit() and len(value) <= 15 else -1
        elif name == b"transfer-encoding":
            length = -1
        elif name == b"content-type":
            media_type = value.partition(b";")[0].strip().lower()
        elif name == b"content-encoding":
            encoding = value.strip().lower() != b"identity"
    return (length, media_type, encoding) if length else None


async def _read(
    scope: Scope, receive: Receive, length: int, media_type: bytes, encoding: bool
) -> tuple[Receive, Response | None]:
    path: str = scope["path"]
    limit = next(most for start, most in LIMITS if path.startswith(start))
    if encoding and not path.startswith(ANY_TYPE):
        # Nothing is unpacked here, so that a small body cannot become a large one.
        return receive, _refused(415, headers={"Accept-Encoding": "identity"})
    try:
        body = None if length > limit else await _whole(receive, limit)
    except ClientDisconnect:
        # What came may look whole and is not what was sent: nobody is there to be answered.
        return gone, None
    if body is None:
        # What is left of the body is not worth reading, so neither is the connection.
        return receive, _refused(413, headers={"Connection": "close"})
    if body and not path.startswith(ANY_TYPE):
        if media_type != JSON:
            return receive, _refused(415)
        flaw = flaw_of(body)
        if flaw is not None:
            return receive, problem(422, "invalid", flaw)
    return _again(body, receive), None


def _refused(status: int, headers: dict[str, str] | None = None) -> Response:
    return problem(status, *CODE_OF_STATUS[status], headers=headers)


async def _whole(receive: Receive, limit: int) -> bytes | None:
    """The body; None when it is longer than ``limit`` bytes.

    Raises:
        ClientDisconnect: the client went away, or broke the protocol, in the middle of it.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _again(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that first gives the body that has been read."""
    unread = True

    async def replay() -> Message:
        nonlocal unread
        if unread:
            unread = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay


def flaw_of(body: bytes) -> str | None:
    """What keeps this JSON from being stored as text, in a sentence; None when nothing does.

    PostgreSQL stores no NUL and nothing stores half a character. Both are rare, so the body is
    only parsed here when it looks like having one.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return "The body is not UTF-8."
    if "\x00" in text:
        return "The body has a NUL character."
    if "\\u0000" not in text and "\\ud" not in text and "\\uD" not in text:
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return "The body is not JSON."
    for string in _strings(document):
        if "\x00" in string:
            return "A text in the body has a NUL character."
        if any("\ud800" <= character <= "\udfff" for character in string):
            return "A text in the body has half a character (a lone surrogate)."
    return None


def _strings(document: Any) -> Iterator[str]:
    """Every text of a JSON document, names too; without recursion,
    for the depth is a stranger's."""
    unseen = [document]
    while unseen:
        value = unseen.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            unseen.extend(value)
        elif isinstance(value, dict):
            unseen.extend(value)
            unseen.extend(value.values())
