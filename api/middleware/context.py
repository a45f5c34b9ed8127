"""What every part of the API may know of the request in hand."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from api.middleware.client import Address


@dataclass(frozen=True, slots=True)
class RequestInfo:
    request_id: str
    path: str
    client: Address | None = None


NO_REQUEST = RequestInfo("", "")
current_request: ContextVar[RequestInfo] = ContextVar("current_request", default=NO_REQUEST)
