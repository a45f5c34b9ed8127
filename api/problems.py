"""Problem documents as RFC 9457 says, with a stable ``code`` and the request's id."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.responses import Response

from api.middleware.context import current_request

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:seathold:problem:"


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    errors: Sequence[Mapping[str, str]] = (),
    data: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error as a client sees it; ``data`` become members beside the standard ones."""
    request = current_request.get()
    document = {
        **(data or {}),
        "type": TYPE_PREFIX + code,
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "instance": request.path,
        "code": code,
        "errors": list(errors),
        "request_id": request.request_id,
    }
    return Response(_dump(document), status, headers, MEDIA_TYPE)


def _dump(document: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        # A lone surrogate out of what was sent: escaped, it is harmless.
        return json.dumps(document, default=str).encode()
