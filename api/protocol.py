"""HTTP/1.1 as a stranger may speak it to us: uvicorn's parser is strict, this bounds the rest.

llhttp refuses what makes two servers read one request differently: a length beside chunks, two
lengths, folded headers, bare line ends. Here come the limits that it has not: time, size, count.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import structlog
from httptools import parse_url
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.middleware.frame import SAFE
from api.problems import MEDIA_TYPE, TYPE_PREFIX

# From the connection, or the first byte of a request, to the end of its header fields.
HEADER_SECONDS = 10.0
# From there to the end of its body; 8 MiB then need 1.1 Mbit/s.
BODY_SECONDS = 60.0
# From when a client does not take what it is answered, or we have nothing more to say to it, until
# what is left is dropped. Closing alone would wait for it for ever, and keep the answer.
ANSWER_SECONDS = 60.0
MAX_HEADERS = 100
MAX_HEADER_BYTES = 16 * 1024
MAX_URL_BYTES = 8 * 1024

log = structlog.get_logger(__name__)


class _Refused(Exception):
    """Raised inside the parser, which passes it on as an error of its own."""


class BoundedProtocol(HttpToolsProtocol):
    """Answers what it refuses by a problem document and ends the connection."""

    header_seconds = HEADER_SECONDS
    body_seconds = BODY_SECONDS
    answer_seconds = ANSWER_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._status = HTTPStatus.BAD_REQUEST
        self._unfinished = False
        self._in_header = True
        self._header_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Who connects and says nothing is as slow as who says it byte by byte.
        self._wait(self.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_patience()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._have_patience()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._stop_patience()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._have_patience()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._have_patience()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if not self._unfinished or self._in_header:
            self._header_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing() or not self._unfinished:
            self._stop_waiting()
        elif self._in_header and self._header_bytes > MAX_HEADER_BYTES + MAX_URL_BYTES:
            # A field without an end is not told to us before it ends.
            self._status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self.send_400_response("")
        elif self._deadline is None:
            self._wait(self.header_seconds if self._in_header else self.body_seconds)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unfinished = self._in_header = True
        self._size = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            raise self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._size += len(name) + len(value)
        if self._size > MAX_HEADER_BYTES or len(self.headers) >= MAX_HEADERS:
            raise self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if not _is_plain(self.parser.get_http_version(), self.url, self.headers):
            raise self._refuse(HTTPStatus.BAD_REQUEST)
        self._in_header = False
        self._stop_waiting()
        super().on_headers_complete()
        if self.parser.should_upgrade():
            # There is nothing to upgrade to, and what follows may not be HTTP.
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        self._unfinished, self._in_header = False, True
        self._header_bytes = 0
        self._stop_waiting()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Our words, not the parser's: the request may be half answered, then it only ends."""
        self._stop_waiting()
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_refusal(self._status))
        if self.cycle is not None and not self.cycle.response_complete:
            # The application must not take for whole what was cut off here.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
        self._have_patience()

    def _refuse(self, status: HTTPStatus) -> _Refused:
        self._status = status
        return _Refused(status)

    def _wait(self, seconds: float) -> None:
        self._deadline = self.loop.call_later(seconds, self._too_slow, seconds)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _have_patience(self) -> None:
        """While something is left that the client has not taken."""
        if self._patience is None and self.transport.get_write_buffer_size():
            self._patience = self.loop.call_later(self.answer_seconds, self.transport.abort)

    def _stop_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _too_slow(self, seconds: float) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if self.flow.read_paused or self.pipeline:
            # It is we who do not read on: an earlier request is still at work.
            self._wait(seconds)
            return
        self._status = HTTPStatus.REQUEST_TIMEOUT
        self.send_400_response("")


def _is_plain(version: str, url: bytes, headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether every server on the way must read the request as we do."""
    names = [name for name, _ in headers]
    if version not in ("1.0", "1.1") or names.count(b"host") > 1:
        return False
    if version == "1.1" and b"host" not in names:
        return False
    for name, value in headers:
        if name == b"transfer-encoding" and (version == "1.0" or value.lower() != b"chunked"):
            return False
    if url.startswith(b"/"):
        return True
    # A whole URL, as proxies are sent them, must not contradict the host field.
    return (
        b"://" in url and parse_url(url).host == dict(headers).get(b"host", b"").partition(b":")[0]
    )


def _refusal(status: HTTPStatus) -> bytes:
    code = status.name.lower() if status is not HTTPStatus.BAD_REQUEST else "malformed"
    # Its own id was not read, or cannot be trusted to be one.
    request_id = str(uuid4())
    log.info("request_refused", request_id=request_id, status=status.value, code=code)
    body = json.dumps(
        {
            "type": TYPE_PREFIX + code,
            "title": status.phrase,
            "status": status.value,
            "detail": status.description or "This is not a request as HTTP/1.1 has them.",
            "instance": "",
            "code": code,
            "errors": [],
            "request_id": request_id,
        }
    ).encode()
    fields = (
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        (b"x-request-id", request_id.encode()),
        *SAFE,
    )
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in fields)
    return STATUS_LINE[status.value] + lines + b"\r\n" + body
