"""The staff's accounts as an owner sees them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text

from infra.postgres.database import Session
from readmodel.bookings import Json
from readmodel.instants import stamp
from readmodel.pages import Place, page_of

COLUMNS = """
id, email, name, role, created_at, blocked_at,
EXISTS (SELECT 1 FROM second_factors AS factor
        WHERE factor.user_id = users.id AND confirmed_at IS NOT NULL) AS second_factor
"""
BY_ID = text(
    f"SELECT {COLUMNS} FROM users WHERE id = :id AND erased_at IS NULL"  # noqa: S608  # nosec B608
)
LIST = text(
    f"""SELECT {COLUMNS} FROM users
    WHERE role <> 'user'
      AND (created_at, id) < (coalesce(CAST(:before_at AS timestamptz), 'infinity'),
                              coalesce(CAST(:before_id AS uuid), CAST(repeat('f', 32) AS uuid)))
    ORDER BY created_at DESC, id DESC LIMIT 101"""  # noqa: S608  # nosec B608
)


async def read(session: Session, user_id: UUID) -> Json | None:
    row = await session.one(BY_ID, id=user_id)
    return None if row is None else _member(row)


async def newest(
    session: Session, *, before: Place | None, limit: int
) -> tuple[list[Json], Place | None]:
    """One page, newest first, and the place to go on ``before``, if there is more."""
    before_at, before_id = before or (None, None)
    rows = await session.all(LIST, before_at=before_at, before_id=before_id)
    return page_of(rows, limit, _member)


def _member(row: Any) -> Json:
    return {
        "id": str(row.id),
        "email": row.email,
        "name": row.name,
        "role": row.role,
        "blocked_at": stamp(row.blocked_at) if row.blocked_at else None,
        "second_factor": row.second_factor,
        "created_at": stamp(row.created_at),
    }
