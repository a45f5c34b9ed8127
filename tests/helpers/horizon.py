"""What is committed lies below the horizon only when older transactions of the whole server end."""

from __future__ import annotations

from sqlalchemy import text

from infra.postgres.database import Database
from tests.helpers.eventually import eventually

STILL_ABOVE = text("""
SELECT (SELECT count(*) FROM events WHERE xid >= pg_snapshot_xmin(pg_current_snapshot()))
     + (SELECT count(*) FROM audit_log WHERE xid >= pg_snapshot_xmin(pg_current_snapshot())) AS rows
""")


async def horizon_passed(database: Database) -> None:
    """Wait until a reader may see all that is there; others' tests use the same server."""

    async def all_below() -> bool:
        async with database.statements() as session:
            row = await session.one(STILL_ABOVE)
        return row is not None and row.rows == 0

    await eventually(all_below, seconds=30, message="an older transaction never ends")
