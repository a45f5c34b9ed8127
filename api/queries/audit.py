"""The audit log read by auditors and owners."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime

from api.deps.read import ReadConnection
from api.queries import page
from api.schemas.audit import AuditList
from api.schemas.cases import CASE_ID
from api.schemas.common import AS_MOMENT
from domain.limits import PAGE_DEFAULT
from readmodel import audit as readmodel

router = APIRouter(prefix="/api/admin/audit", tags=["audit"])

LONGEST = 200
NO_NUL = r"^[^\x00]+$"
Actor = Annotated[
    str | None,
    Query(min_length=1, max_length=LONGEST, pattern=NO_NUL, examples=["operator:anna"]),
]
Action = Annotated[
    str | None,
    Query(min_length=1, max_length=LONGEST, pattern=NO_NUL, examples=["case.resolve"]),
]
Target = Annotated[
    str | None,
    Query(min_length=1, max_length=LONGEST, pattern=NO_NUL, examples=[f"case:{CASE_ID}"]),
]
# A day from each end of what PostgreSQL and Python both know in every zone.
FIRST, LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
When = Annotated[
    AwareDatetime | None,
    Query(ge=FIRST, le=LAST, examples=["2026-11-24T00:00:00Z"]),
    AS_MOMENT,
]


@router.get("", response_model=AuditList)
async def newest(
    connection: ReadConnection,
    actor: Actor = None,
    action: Action = None,
    target: Target = None,
    since: When = None,
    until: When = None,
    limit: page.Limit = PAGE_DEFAULT,
    cursor: page.Cursor = None,
) -> Response:
    """Who with power did what to what, and why; newest first."""
    wanted: dict[str, str | datetime | None] = {
        "actor": actor,
        "action": action,
        "target": target,
        "since": since,
        "until": until,
    }
    items, more = await readmodel.newest(
        connection, wanted=wanted, before=_before(cursor), limit=limit
    )
    return page.answer(items, page.cursor(str(more)) if more is not None else None)


def _before(cursor: str | None) -> int | None:
    place = page.place(cursor, 1)
    if place is None:
        return None
    if not place[0].isascii() or not place[0].isdecimal() or len(place[0]) > 18:
        raise page.foreign()
    return int(place[0])
