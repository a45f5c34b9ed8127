"""The staff's accounts, read."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Response

from api.deps.read import PathId, ReadConnection
from api.queries import page
from api.schemas.common import CURSOR_EXAMPLE
from api.schemas.staff import StaffList, StaffOut
from domain.errors import NotFound
from domain.limits import PAGE_DEFAULT, PAGE_MAX
from domain.user import Role
from readmodel import staff as readmodel

router = APIRouter(prefix="/api/admin/staff", tags=["staff"])


@router.get("", response_model=StaffList)
async def newest(
    connection: ReadConnection,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT,
    cursor: Annotated[str | None, Query(max_length=200, examples=[CURSOR_EXAMPLE])] = None,
) -> Response:
    """Who is of the staff, newest first."""
    items, place = await readmodel.newest(connection, before=page.moment(cursor), limit=limit)
    return Response(
        orjson.dumps({"items": items, "next": page.after(place)}), media_type="application/json"
    )


@router.get("/{staff_id}", response_model=StaffOut)
async def read(staff_id: PathId, connection: ReadConnection) -> Response:
    """One of the staff."""
    found = await readmodel.read(connection, staff_id)
    if found is None or found["role"] == Role.USER:
        raise NotFound("Nobody of the staff has this id.")
    return Response(orjson.dumps(found), media_type="application/json")
