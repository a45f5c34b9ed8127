"""Limits before anything else is done for a request: 429 says how long to wait, and how far."""

from __future__ import annotations

from starlette.datastructures import State
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import refusal
from api.limit_answers import Limited, fields
from api.limits import LimitTable
from api.middleware.context import current_request
from infra.rate_limits import RateLimits


class RequestLimits:
    """``state.limits``: the counts, there once the application has started."""

    def __init__(self, app: ASGIApp, table: LimitTable, state: State) -> None:
        self._app = app
        self._table = table
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        plan = None
        if scope["type"] == "http":
            plan = self._table.plan(scope, current_request.get().client)
        if plan is None:
            await self._app(scope, receive, send)
            return
        limits: RateLimits = self._state.parts.limits
        if plan.shared:
            standing = await limits.everywhere(*plan.hits)
        else:
            standing = limits.here(*plan.hits)
        if standing.is_over:
            await refusal(Limited(standing))(scope, receive, send)
            return
        told = [(name.lower().encode(), value.encode()) for name, value in fields(standing).items()]

        async def telling(message: Message) -> None:
            # A route's own limit knows better.
            if message["type"] == "http.response.start" and all(
                name != b"ratelimit" for name, _ in message["headers"]
            ):
                message["headers"] = [*message["headers"], *told]
            await send(message)

        await self._app(scope, receive, telling)
