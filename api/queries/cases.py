"""Cases read by the staff."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.deps.read import PathId, ReadConnection
from api.queries import etag, page
from api.schemas.cases import CaseList, CaseOut
from domain.case import CaseKind, CaseStatus
from domain.errors import NotFound
from domain.limits import PAGE_DEFAULT
from readmodel import cases as readmodel

router = APIRouter(prefix="/api/admin/cases", tags=["cases"])


@router.get("", response_model=CaseList)
async def newest(
    connection: ReadConnection,
    status: CaseStatus | None = None,
    kind: CaseKind | None = None,
    limit: page.Limit = PAGE_DEFAULT,
    cursor: page.Cursor = None,
) -> Response:
    """What a person has to decide about money, newest first."""
    items, place = await readmodel.newest(
        connection, status=status, kind=kind, before=page.moment(cursor), limit=limit
    )
    return page.answer(items, page.after(place))


@router.get("/{case_id}", response_model=CaseOut)
async def read(
    case_id: PathId, connection: ReadConnection, if_none_match: etag.IfNoneMatch
) -> Response:
    """One case; its `ETag` goes into the `If-Match` of a change."""
    found = await readmodel.read(connection, case_id)
    if found is None:
        raise NotFound("There is no such case.")
    return etag.answer(found, if_none_match)
