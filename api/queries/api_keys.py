"""Partners' API keys, read; never with their secret."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Response

from api.deps.read import PathId, ReadConnection
from api.queries import page
from api.schemas.api_keys import ApiKeyList, ApiKeyOut
from api.schemas.common import CURSOR_EXAMPLE
from domain.errors import NotFound
from domain.limits import PAGE_DEFAULT, PAGE_MAX
from readmodel import api_keys as readmodel

router = APIRouter(prefix="/api/admin/api-keys", tags=["staff"])


@router.get("", response_model=ApiKeyList)
async def newest(
    connection: ReadConnection,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT,
    cursor: Annotated[str | None, Query(max_length=200, examples=[CURSOR_EXAMPLE])] = None,
) -> Response:
    """All keys, also those that are over, newest first."""
    items, place = await readmodel.newest(connection, before=page.moment(cursor), limit=limit)
    return Response(
        orjson.dumps({"items": items, "next": page.after(place)}), media_type="application/json"
    )


@router.get("/{key_id}", response_model=ApiKeyOut)
async def read(key_id: PathId, connection: ReadConnection) -> Response:
    """One key."""
    found = await readmodel.read(connection, key_id)
    if found is None:
        raise NotFound("There is no such key.")
    return Response(orjson.dumps(found), media_type="application/json")
