"""The audit log as auditors read it, newest first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from domain.limits import PAGE_MAX
from infra.postgres.database import Session
from readmodel.bookings import Json
from readmodel.instants import stamp

COLUMNS = """
SELECT entry.id, at, actor, role, action, target, reason, details, request_id,
       audit_seals.sequence, audit_seals.hash
FROM (SELECT * FROM audit_log WHERE id < :before
"""
# The index of the narrowest filter finds the entries; the others are asked of what it found.
OF_TARGET = """
    AND target = :target
    AND (CAST(:actor AS text) IS NULL OR actor = :actor)
    AND (CAST(:action AS text) IS NULL OR action = :action)
"""
OF_ACTOR = """
    AND actor = :actor AND (CAST(:action AS text) IS NULL OR action = :action)
"""
NEWEST_FIRST = """
    AND (CAST(:since AS timestamptz) IS NULL OR at >= :since)
    AND (CAST(:until AS timestamptz) IS NULL OR at < :until)
    ORDER BY id DESC LIMIT 101
) AS entry LEFT JOIN audit_seals ON audit_seals.audit_id = entry.id ORDER BY entry.id DESC
"""
LIST = text(COLUMNS + NEWEST_FIRST)
LIST_OF_ACTION = text(COLUMNS + "AND action = :action" + NEWEST_FIRST)
LIST_OF_ACTOR = text(COLUMNS + OF_ACTOR + NEWEST_FIRST)
LIST_OF_TARGET = text(COLUMNS + OF_TARGET + NEWEST_FIRST)
assert PAGE_MAX < 101
LAST = 2**63 - 1


async def newest(
    session: Session, *, wanted: dict[str, Any], before: int | None, limit: int
) -> tuple[list[Json], int | None]:
    """One page, and the id to go on ``before``, if there is more.

    ``wanted`` has ``actor``, ``action``, ``target``, ``since`` and ``until``, each or None.
    """
    by = {"target": LIST_OF_TARGET, "actor": LIST_OF_ACTOR, "action": LIST_OF_ACTION}
    statement = next((by[name] for name in by if wanted[name] is not None), LIST)
    rows = await session.all(statement, before=LAST if before is None else before, **wanted)
    page = rows[:limit]
    return [_entry(row) for row in page], page[-1].id if len(rows) > limit else None


def _entry(row: Any) -> Json:
    sealed = {"sequence": row.sequence, "hash": bytes(row.hash).hex()} if row.sequence else None
    return {
        "id": str(row.id),
        "at": stamp(row.at),
        "actor": row.actor,
        "role": row.role,
        "action": row.action,
        "target": row.target,
        "reason": row.reason,
        "details": row.details,
        "request_id": row.request_id,
        "sealed": sealed,
    }
