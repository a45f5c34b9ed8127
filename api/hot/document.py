"""An answer made once and sent many times: its bytes, its tag and its headers, ready to send."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from api.queries.etag import is_kept

Headers = list[tuple[bytes, bytes]]
JSON = b"application/json"
# Of smaller answers packing saves less than a packet.
PACKED_FROM_BYTES = 1400
READ_AFTER = b"read-after"
FAST, SMALL = 1, 6
VARY = b"Accept-Encoding, Read-After"


@dataclass(frozen=True, slots=True)
class Form:
    """One encoding of a document. ``headers`` are those of 200, ``kept`` those of 304."""

    body: bytes
    tag: str
    headers: Headers
    kept: Headers


class Document:
    """A body, also packed when that is worth it and asked for.

    Args:
        read_at: microseconds by the database clock; what was committed by then is in it.
        tag: what ``ETag`` says, without its quotes; the body's hash if empty.
    """

    def __init__(self, body: bytes, cache_control: bytes, read_at: int = 0, tag: str = "") -> None:
        self.read_at = read_at
        self._cache_control = cache_control
        self._tag = tag or blake2b(body, digest_size=12).hexdigest()
        self.plain = self._form(body, self._tag, [])
        self._packed: Form | None = None

    def _form(self, body: bytes, tag: str, more: Headers) -> Form:
        quoted = f'"{tag}"'
        kept = [
            (b"etag", quoted.encode()),
            (b"cache-control", self._cache_control),
            (b"vary", VARY),
        ]
        length = (b"content-length", b"%d" % len(body))
        return Form(body, quoted, [(b"content-type", JSON), length, *more, *kept], kept)

    @property
    def size(self) -> int:
        return len(self.plain.body)

    def form_for(self, accept_encoding: bytes) -> Form:
        if len(self.plain.body) < PACKED_FROM_BYTES or not _takes_gzip(accept_encoding):
            return self.plain
        return self._packed or self.pack(FAST)

    @property
    def is_packed(self) -> bool:
        return self._packed is not None or len(self.plain.body) < PACKED_FROM_BYTES

    def pack(self, level: int) -> Form:
        """Made once. ``SMALL``, for what lives a year, takes long: not on the event loop."""
        packed = gzip.compress(self.plain.body, level, mtime=0)
        self._packed = self._form(packed, f"{self._tag}-gz", [(b"content-encoding", b"gzip")])
        return self._packed

    def answer(self, request: Request) -> Response:
        """The same answer for those who came the long way."""
        headers = request.headers
        form = self.form_for(headers.get("accept-encoding", "").encode("latin-1"))
        kept = headers.getlist("if-none-match")
        if kept and is_kept(form.tag, kept):
            return Response(None, 304, _text(form.kept))
        return Response(form.body, 200, _text(form.headers))


def _text(headers: Headers) -> Mapping[str, str]:
    return {name.decode(): value.decode() for name, value in headers}


def url_of(scope: Scope) -> str:
    """The path and the query; a question mark that was sent as a part of the path stays one."""
    query: bytes = scope["query_string"]
    path: str = scope["path"].replace("?", "%3F")
    return f"{path}?{query.decode('latin-1')}" if query else path


def read_after(value: bytes | str) -> int:
    """The moment that ``Read-After`` names; 0 for what is none of ours."""
    return int(value) if len(value) <= 17 and value.isascii() and value.isdigit() else 0


def _takes_gzip(accept_encoding: bytes) -> bool:
    """Whoever weighs it below 1 gets it as it is: that is always right."""
    return b"gzip" in accept_encoding and b"gzip;q=0" not in accept_encoding.replace(b" ", b"")
