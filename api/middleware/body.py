"""What a body may be, before any route reads it: how large, of which type, of which characters."""

from __future__ import annotations

import json
from collections import Counter
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
# Lists and objects in one another, and values: far more than any route has a use for.
MAX_DEPTH = 16
MAX_VALUES = 100_000
TOO_DEEP = f"The body has more than {MAX_DEPTH} lists and objects in one another."


class BodyRules:
    """Reads a body to its end within its limit, so that routes get it whole or not at all."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused: Response | None = None
        query: bytes = scope["query_string"]
        if b"%00" in query:
            errors = _fields_with_nul(query)
            refused = problem(422, "invalid", "The query has a NUL character.", errors=errors)
        elif b"&" in query and (errors := _named_twice(query)):
            refused = problem(422, "invalid", "The query names something twice.", errors=errors)
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


def _named_twice(query: bytes) -> list[dict[str, str]]:
    """Of two values one server takes the first and another the last. No parameter is a list."""
    names = Counter(name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    return [
        {"in": "query", "field": name[:MAX_FIELD_CHARACTERS], "message": "Give it once."}
        for name, times in names.items()
        if times > 1
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


class _NamedTwice(Exception):
    """Its argument is the name."""


def flaw_of(body: bytes) -> str | None:
    """What no route can do with this JSON, in a sentence; None when nothing, or when it is none.

    PostgreSQL stores no NUL and nothing stores half a character. Of a name that comes twice
    readers take the first or the last value. Routes parse it once more, and to the same.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "The body is not UTF-8."
    if "\x00" in text:
        return "The body has a NUL character."
    if text.count(",") > MAX_VALUES:
        return f"The body has more than {MAX_VALUES} values."
    try:
        document = DECODER.decode(text)
    except _NamedTwice as twice:
        return f"The body has the name {twice.args[0]!r} twice in one object."
    except RecursionError:
        return TOO_DEEP
    except ValueError:
        return None
    # Rare, so it is only looked for where the body looks like having it.
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(document):
        return TOO_DEEP
    is_plain = "\\u0000" not in text and "\\ud" not in text and "\\uD" not in text
    return None if is_plain else _flaw_of_strings(document)


def _flaw_of_strings(document: Any) -> str | None:
    for string in _strings(document):
        if "\x00" in string:
            return "A text in the body has a NUL character."
        if any("\ud800" <= character <= "\udfff" for character in string):
            return "A text in the body has half a character (a lone surrogate)."
    return None


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = Counter(name for name, _ in pairs)
        raise _NamedTwice(names.most_common(1)[0][0][:MAX_FIELD_CHARACTERS])
    return found


# Made once: for each text anew it would take ten times as long as the text.
DECODER = json.JSONDecoder(object_pairs_hook=_named_once)


def _is_deep(document: Any) -> bool:
    level = [document]
    for _ in range(MAX_DEPTH):
        insides = (one.values() if isinstance(one, dict) else one for one in level)
        level = [one for inside in insides for one in inside if isinstance(one, list | dict)]
    return bool(level)


def _strings(document: Any) -> Iterator[str]:
    """Every text of a JSON document, names too; without recursion: the depth is a stranger's."""
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
