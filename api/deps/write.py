"""What commands are given besides the application's parts: who asks, and under which ids."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from api.deps.read import CurrentUser, PathId, current_user
from api.deps.state import AppState, app_state
from api.middleware.context import current_request
from domain.errors import Invalid
from infra.tokens import Principal
from services.desk import Caller

__all__ = ["Call", "Command", "CurrentUser", "IdempotencyKey", "PathId", "RequestId"]

KEY = re.compile(r"[!-~]{1,255}")


async def idempotency_key(request: Request) -> str | None:
    keys = request.headers.getlist("idempotency-key")
    if len(keys) > 1 or not all(KEY.fullmatch(key) for key in keys):
        raise Invalid(
            "Send one Idempotency-Key of 1 to 255 visible ASCII characters.",
            code="invalid_idempotency_key",
        )
    return keys[0] if keys else None


async def request_id() -> str | None:
    return current_request.get().request_id


@dataclass(frozen=True, slots=True)
class Call:
    """Who sent a command, to which parts, and under which ids."""

    user: Principal
    state: AppState
    key: str | None
    request_id: str | None

    @property
    def caller(self) -> Caller:
        return Caller(self.user.user_id, self.request_id)


async def signed_call(request: Request) -> Call:
    """All of a command's dependencies in one: FastAPI's own work for each costs 20 µs a request."""
    user, state = await current_user(request), await app_state(request)
    return Call(user, state, await idempotency_key(request), await request_id())


Command = Annotated[Call, Depends(signed_call)]
IdempotencyKey = Annotated[str | None, Depends(idempotency_key)]
RequestId = Annotated[str | None, Depends(request_id)]
