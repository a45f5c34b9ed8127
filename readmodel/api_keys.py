"""API keys as an owner sees them: never the secret."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from infra.postgres.database import Session
from readmodel.bookings import Json
from readmodel.instants import stamp
from readmodel.pages import Place, page_of

COLUMNS = """
id, account_id, name, prefix, scopes, per_minute, created_at, expires_at, revoked_at, last_used_at,
CASE WHEN previous_until > clock_timestamp() THEN previous_until END AS previous_until
"""
BY_ID = text(f"SELECT {COLUMNS} FROM api_keys WHERE id = :id")  # noqa: S608  # nosec B608
LIST = text(
    f"""SELECT {COLUMNS} FROM api_keys
    WHERE (created_at, id) < (coalesce(CAST(:before_at AS timestamptz), 'infinity'),
                              coalesce(CAST(:before_id AS uuid), CAST(repeat('f', 32) AS uuid)))
    ORDER BY created_at DESC, id DESC LIMIT 101"""  # noqa: S608  # nosec B608
)


async def read(session: Session, key_id: UUID) -> Json | None:
    row = await session.one(BY_ID, id=key_id)
    return None if row is None else _key(row)


async def newest(
    session: Session, *, before: Place | None, limit: int
) -> tuple[list[Json], Place | None]:
    """One page, newest first, and the place to go on ``before``, if there is more."""
    before_at, before_id = before or (None, None)
    rows = await session.all(LIST, before_at=before_at, before_id=before_id)
    return page_of(rows, limit, _key)


def _key(row: Any) -> Json:
    return {
        "id": str(row.id),
        "account_id": str(row.account_id),
        "name": row.name,
        "prefix": f"sk_{row.prefix}",
        "scopes": row.scopes,
        "per_minute": row.per_minute,
        "created_at": stamp(row.created_at),
        "expires_at": _stamp(row.expires_at),
        "revoked_at": _stamp(row.revoked_at),
        "previous_until": _stamp(row.previous_until),
        "last_used_at": _stamp(row.last_used_at),
    }


def _stamp(at: datetime | None) -> str | None:
    return stamp(at) if at else None
