"""The account that asks."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Response

from api.deps.read import CurrentUser, ReadConnection
from api.schemas.users import ExportOut, SessionsOut, UserOut
from domain.errors import Unauthenticated
from readmodel import export as exported
from readmodel import users as readmodel

router = APIRouter(prefix="/api/me", tags=["accounts"])


@router.get("", response_model=UserOut)
async def me(user: CurrentUser, connection: ReadConnection) -> Response:
    """Your own account."""
    found = await readmodel.read(connection, user.user_id)
    if found is None:
        raise Unauthenticated("This account is gone.")
    return Response(orjson.dumps(found), media_type="application/json")


@router.get("/export", response_model=ExportOut)
async def export(user: CurrentUser, connection: ReadConnection) -> Response:
    """Everything that is stored of you, as a file."""
    found = await exported.read(connection, user.user_id, current=user.session_id)
    if found is None:
        raise Unauthenticated("This account is gone.")
    headers = {"Content-Disposition": 'attachment; filename="seathold.json"'}
    return Response(orjson.dumps(found), 200, headers, "application/json")


@router.get("/sessions", response_model=SessionsOut)
async def sessions(user: CurrentUser, connection: ReadConnection) -> Response:
    """Where you are logged in."""
    found = await readmodel.sessions(connection, user.user_id, current=user.session_id)
    return Response(orjson.dumps(found), media_type="application/json")
