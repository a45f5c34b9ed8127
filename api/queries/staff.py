"""The staff's accounts, read."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Response

from api.deps.read import PathId, ReadConnection
from api.queries import page
from api.schemas.staff import StaffList, StaffOut
from domain.errors import NotFound
from domain.limits import PAGE_DEFAULT
from domain.user import Role
from readmodel import staff as readmodel

router = APIRouter(prefix="/api/admin/staff", tags=["staff"])


@router.get("", response_model=StaffList)
async def newest(
    connection: ReadConnection,
    limit: page.Limit = PAGE_DEFAULT,
    cursor: page.Cursor = None,
) -> Response:
    """Who is of the staff, newest first."""
    items, place = await readmodel.newest(connection, before=page.moment(cursor), limit=limit)
    return page.answer(items, page.after(place))


@router.get("/{staff_id}", response_model=StaffOut)
async def read(staff_id: PathId, connection: ReadConnection) -> Response:
    """One of the staff."""
    found = await readmodel.read(connection, staff_id)
    if found is None or found["role"] == Role.USER:
        raise NotFound("Nobody of the staff has this id.")
    return Response(orjson.dumps(found), media_type="application/json")
