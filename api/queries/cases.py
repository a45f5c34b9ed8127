"""Cases read by the staff."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Response

from api.deps.read import PathId, ReadConnection
from api.queries import page
from api.queries.etag import IfNoneMatch, is_kept
from api.schemas.cases import CaseList, CaseOut
from api.schemas.common import CURSOR_EXAMPLE
from domain.case import CaseKind, CaseStatus
from domain.errors import NotFound
from domain.limits import PAGE_DEFAULT, PAGE_MAX
from readmodel import cases as readmodel

router = APIRouter(prefix="/api/admin/cases", tags=["cases"])


@router.get("", response_model=CaseList)
async def newest(
    connection: ReadConnection,
    status: CaseStatus | None = None,
    kind: CaseKind | None = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT,
    cursor: Annotated[str | None, Query(max_length=200, examples=[CURSOR_EXAMPLE])] = None,
) -> Response:
    """What a person has to decide about money, newest first."""
    items, place = await readmodel.newest(
        connection, status=status, kind=kind, before=page.moment(cursor), limit=limit
    )
    return Response(
        orjson.dumps({"items": items, "next": page.after(place)}), media_type="application/json"
    )


@router.get("/{case_id}", response_model=CaseOut)
async def read(case_id: PathId, connection: ReadConnection, if_none_match: IfNoneMatch) -> Response:
    """One case; its `ETag` goes into the `If-Match` of a change."""
    found = await readmodel.read(connection, case_id)
    if found is None:
        raise NotFound("There is no such case.")
    headers = {"ETag": f'"{found["version"]}"'}
    if is_kept(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    return Response(orjson.dumps(found), headers=headers, media_type="application/json")
