"""What must be true of the database before anything is sold."""

from __future__ import annotations

from sqlalchemy import text

from infra.postgres.database import Database

GUARD = text("""
SELECT count(*) AS guards FROM pg_index
JOIN pg_class AS index ON index.oid = indexrelid
WHERE indrelid = to_regclass('seat_claims') AND index.relname = 'seat_claims_show_label_key'
  AND indisunique AND indisvalid AND indpred IS NULL
  AND (SELECT array_agg(attname::text ORDER BY attname) FROM pg_attribute
       WHERE attrelid = indrelid AND attnum = ANY (indkey)) = ARRAY['label', 'show_id']
""")


async def require_guards(database: Database) -> None:
    """Refuse to start without the index that keeps a seat from being sold twice.

    Raises:
        RuntimeError: the index is missing, not unique, or was never built to the end.
    """
    async with database.statements() as session:
        found = await session.one(GUARD)
    if found is None or found.guards != 1:
        raise RuntimeError(
            "The unique index seat_claims_show_label_key is missing or invalid, so a seat could"
            " be sold twice; run `seathold migrate`, or recreate the index, and start again."
        )
