"""What must be true of the database before anything is sold."""

from __future__ import annotations

import structlog
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

# What the role that we connect as could do to the past, in words; none of it is needed.
RIGHTS = text("""
SELECT 'be a superuser' AS may FROM pg_roles WHERE rolname = current_user AND rolsuper
UNION ALL
SELECT 'create tables' WHERE has_schema_privilege('public', 'CREATE')
UNION ALL
SELECT 'switch triggers off'
WHERE has_parameter_privilege('session_replication_role', 'SET')
UNION ALL
SELECT 'alter ' || relname FROM pg_class
WHERE oid IN (to_regclass('events'), to_regclass('ledger_entries'), to_regclass('audit_log'),
              to_regclass('audit_seals'))
  AND pg_has_role(relowner, 'MEMBER')
UNION ALL
SELECT 'rewrite ' || relname FROM pg_class
WHERE oid IN (to_regclass('events'), to_regclass('ledger_entries'), to_regclass('audit_log'),
              to_regclass('audit_seals'))
  AND (has_table_privilege(oid, 'DELETE, TRUNCATE, TRIGGER')
       OR has_any_column_privilege(oid, 'UPDATE'))
""")

log = structlog.get_logger("guards")


class Unguarded(RuntimeError):
    """What is missing, and how to mend it."""


async def require_guards(database: Database, *, production: bool = False) -> None:
    """Refuse to start without the index that keeps a seat from being sold twice.

    In production refuse too when the role that we connect as could rewrite what happened; elsewhere
    that is only said, so that one URL is enough for development.

    Raises:
        Unguarded: the index is missing, not unique, or was never built to the end; or, in
            production, the role has too many rights.
    """
    async with database.statements() as session:
        found = await session.one(GUARD)
        rights = [row.may for row in await session.all(RIGHTS)]
    if found is None or found.guards != 1:
        raise Unguarded(
            "The unique index seat_claims_show_label_key is missing or invalid, so a seat could"
            " be sold twice; run `seathold migrate`, or recreate the index, and start again."
        )
    if rights and production:
        raise Unguarded(
            f"The role of SEATHOLD_DATABASE_URL may {', '.join(rights)}: name there a role that may"
            " not (seathold_app, or a member of it), and in SEATHOLD_MIGRATE_DATABASE_URL the one"
            " that owns the tables, run `seathold migrate`, and start again."
        )
    if rights:
        log.warning("role_can_rewrite_the_past", may=rights)
