"""The Stripe library's way to the network."""

from __future__ import annotations

from collections.abc import Mapping

import httpx2
import orjson
import stripe

from domain.errors import BalanceTooLow, NotFound, Unavailable
from infra.gateways.wire import (
    LOW_BALANCE,
    TIMEOUTS,
    error_field,
    exchange,
    require_success,
    unusable,
)

REPLAYED = "idempotent-replayed"


class MissingPermission(Unavailable):
    """Our key is a restricted one, and what was asked needs more."""

    def __init__(self) -> None:
        super().__init__("The key at Stripe lacks a permission.", retry_after=60)


class HttpClient(stripe.HTTPClient):
    """The library's way to the network: one bounded call, no redirect; errors are the port's."""

    name = "httpx2"

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        super().__init__()
        self._transport = transport

    async def request_async(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        post_data: str | None = None,
    ) -> tuple[bytes, int, Mapping[str, str]]:
        request = httpx2.Request(
            method.upper(),
            url,
            headers={**headers, "accept-encoding": "identity"},
            content=post_data,
            extensions=TIMEOUTS,
        )
        answer, body = await exchange(self._transport, request)
        _require_success(answer, body)
        return body, answer.status_code, {REPLAYED: answer.headers.get(REPLAYED, "")}

    async def close_async(self) -> None:
        await self._transport.aclose()


def _require_success(answer: httpx2.Response, body: bytes) -> None:
    """As :func:`infra.gateways.wire.require_success`, with Stripe's own habits before it."""
    status = answer.status_code
    if status == 401:
        raise unusable("it does not accept our key", retry_after=60)
    if status == 403:
        raise MissingPermission
    if 400 <= status < 500:
        code, kind = error_field(body, "code"), error_field(body, "type")
        if status == 409 or code == "rate_limit" or kind == "idempotency_error":
            raise unusable(f"it answered {status} {code or kind or ''}".rstrip())
        if code in LOW_BALANCE:
            raise BalanceTooLow(
                "Our balance at Stripe is too low.",
                retry_after=60,
                is_replay=answer.headers.get(REPLAYED) == "true",
            )
        if code == "resource_missing":
            raise NotFound("The payment provider knows no such thing.")
    require_success(answer, body)
    try:
        is_object = isinstance(orjson.loads(body), dict)
    except orjson.JSONDecodeError:
        is_object = False
    if not is_object:
        raise unusable("the answer is not a JSON object")
