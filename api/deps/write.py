"""What commands are given besides the application's parts: who asks, and under which ids."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from api.deps.read import CurrentUser, PathId
from api.middleware.context import current_request
from domain.errors import Invalid

__all__ = ["CurrentUser", "IdempotencyKey", "PathId", "RequestId"]

KEY = re.compile(r"[!-~]{1,255}")


async def idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not KEY.fullmatch(key):
        raise Invalid(
            "An Idempotency-Key is 1 to 255 visible ASCII characters.",
            code="invalid_idempotency_key",
        )
    return key


async def request_id() -> str | None:
    return current_request.get().request_id


IdempotencyKey = Annotated[str | None, Depends(idempotency_key)]
RequestId = Annotated[str | None, Depends(request_id)]
