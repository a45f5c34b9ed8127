"""Partners' API keys, read; never with their secret."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Response

from api.deps.read import PathId, ReadConnection
from api.queries import page
from api.schemas.api_keys import ApiKeyList, ApiKeyOut
from domain.errors import NotFound
from domain.limits import PAGE_DEFAULT
from readmodel import api_keys as readmodel

router = APIRouter(prefix="/api/admin/api-keys", tags=["staff"])


@router.get("", response_model=ApiKeyList)
async def newest(
    connection: ReadConnection,
    limit: page.Limit = PAGE_DEFAULT,
    cursor: page.Cursor = None,
) -> Response:
    """All keys, also those that are over, newest first."""
    items, place = await readmodel.newest(connection, before=page.moment(cursor), limit=limit)
    return page.answer(items, page.after(place))


@router.get("/{key_id}", response_model=ApiKeyOut)
async def read(key_id: PathId, connection: ReadConnection) -> Response:
    """One key."""
    found = await readmodel.read(connection, key_id)
    if found is None:
        raise NotFound("There is no such key.")
    return Response(orjson.dumps(found), media_type="application/json")
