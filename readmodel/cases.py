"""Cases as the staff sees them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain.limits import PAGE_MAX
from infra.postgres.database import Session
from readmodel.bookings import Json
from readmodel.instants import stamp
from readmodel.pages import Place, page_of

COLUMNS = """
id, kind, status, summary, booking_id, provider_payment_id, refund_id, assignee, resolution,
opened_at, assigned_at, resolved_at, version
"""

BY_ID = text(f"SELECT {COLUMNS} FROM cases WHERE id = :id")  # noqa: S608  # nosec B608

# One walk along an index for each status, so that a few open cases are found among any number of
# resolved ones. As many rows as the longest page and one more: a limit that is not known when the
# statement is planned makes the planner fear a tenth of the table.
OF_EACH_STATUS = """
SELECT found.*
FROM (VALUES ('open'), ('assigned'), ('resolved')) AS wanted (status)
CROSS JOIN LATERAL (
    SELECT cases.* FROM cases
    WHERE cases.status = wanted.status
      AND (opened_at, id) < (coalesce(CAST(:before_at AS timestamptz), 'infinity'),
                             coalesce(CAST(:before_id AS uuid), CAST(repeat('f', 32) AS uuid)))
"""
NEWEST_FIRST = """
    ORDER BY opened_at DESC, id DESC LIMIT 101
) AS found
WHERE CAST(:status AS text) IS NULL OR wanted.status = :status
ORDER BY opened_at DESC, id DESC LIMIT 101
"""
LIST = text(OF_EACH_STATUS + NEWEST_FIRST)
LIST_OF_KIND = text(OF_EACH_STATUS + "AND cases.kind = :kind" + NEWEST_FIRST)
assert PAGE_MAX < 101


async def read(session: Session, case_id: UUID) -> Json | None:
    row = await session.one(BY_ID, id=case_id)
    return _case(row) if row is not None else None


async def newest(
    session: Session,
    *,
    status: str | None,
    kind: str | None,
    before: Place | None,
    limit: int,
) -> tuple[list[Json], Place | None]:
    """One page, newest first, and the place to go on ``before``, if there is more."""
    before_at, before_id = before or (None, None)
    asked = {"status": status, "before_at": before_at, "before_id": before_id}
    if kind is None:
        rows = await session.all(LIST, **asked)
    else:
        rows = await session.all(LIST_OF_KIND, **asked, kind=kind)
    return page_of(rows, limit, _case, at="opened_at")


def _case(row: Any) -> Json:
    return {
        "id": str(row.id),
        "kind": row.kind,
        "status": row.status,
        "summary": row.summary,
        "booking_id": _id(row.booking_id),
        "provider_payment_id": _id(row.provider_payment_id),
        "refund_id": _id(row.refund_id),
        "assignee": _id(row.assignee),
        "resolution": row.resolution,
        "opened_at": stamp(row.opened_at),
        "assigned_at": stamp(row.assigned_at) if row.assigned_at else None,
        "resolved_at": stamp(row.resolved_at) if row.resolved_at else None,
        "version": row.version,
    }


def _id(value: UUID | None) -> str | None:
    return str(value) if value else None
