"""Cancelled shows read by the staff."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Response

from api.deps.read import PathId, ReadConnection
from api.schemas.shows import ShowCancelOut
from domain.errors import NotFound
from readmodel import show_cancel

router = APIRouter(prefix="/api/admin/shows", tags=["shows"])


@router.get("/{show_id}/cancel", response_model=ShowCancelOut)
async def cancellation(show_id: PathId, connection: ReadConnection) -> Response:
    """How far the cancellation is, and in the end what came of it."""
    found = await show_cancel.read(connection, show_id)
    if found is None:
        raise NotFound("This show is not cancelled.")
    return Response(orjson.dumps(found), media_type="application/json")
