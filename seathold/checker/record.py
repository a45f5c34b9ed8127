"""A: the record. The audit log is one chain, and nobody who runs the application can rewrite it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, timedelta

from seathold.checker.report import NotRun
from seathold.checker.world import Row, World

APP_ROLE = "seathold_app"
RECORD = ["events", "ledger_entries", "audit_log", "audit_seals"]
# A worker seals within seconds; longer means that none does.
SEAL_WITHIN = timedelta(minutes=5)
CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))

SEALED = """
SELECT seals.sequence, seals.audit_id, seals.previous_hash, seals.hash, entry.*
FROM audit_seals AS seals LEFT JOIN audit_log AS entry ON entry.id = seals.audit_id
ORDER BY seals.sequence
"""
SLIPPED_IN = """
SELECT entry.id FROM audit_log AS entry
WHERE NOT EXISTS (SELECT FROM audit_seals WHERE audit_id = entry.id) AND (xid, entry.id) < (
    SELECT xid, sealed.id FROM audit_log AS sealed JOIN audit_seals ON audit_id = sealed.id
    ORDER BY sequence DESC LIMIT 1)
"""
FORGOTTEN = """
SELECT id, at FROM audit_log
WHERE NOT EXISTS (SELECT FROM audit_seals WHERE audit_id = audit_log.id) AND at < %(before)s
"""

ROLE = "SELECT rolsuper, oid FROM pg_roles WHERE rolname = %(role)s"
TOO_MUCH = """
SELECT 'alter or drop ' || relname AS may FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
  AND pg_has_role(%(role)s, relowner, 'MEMBER')
UNION ALL
SELECT lower(wish) || ' ' || relname FROM pg_class
CROSS JOIN unnest(ARRAY['DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES', 'UPDATE']) AS wish
WHERE oid = ANY (SELECT to_regclass(name) FROM unnest(%(record)s::text[]) AS name)
  AND (has_table_privilege(%(role)s, oid, wish)
       OR wish = 'UPDATE' AND has_any_column_privilege(%(role)s, oid, 'UPDATE'))
UNION ALL
SELECT 'choose events.' || attname FROM pg_attribute
WHERE attrelid = to_regclass('events') AND attname IN ('id', 'xid', 'created_at')
  AND has_column_privilege(%(role)s, attrelid, attnum, 'INSERT')
UNION ALL
SELECT 'create in schema public' WHERE has_schema_privilege(%(role)s, 'public', 'CREATE')
UNION ALL
SELECT 'switch triggers off'
WHERE has_parameter_privilege(%(role)s, 'session_replication_role', 'SET')
"""
# 2: before each row or statement; 8, 16, 32: on delete, update, truncate.
UNGUARDED = """
SELECT name FROM unnest(%(record)s::text[]) AS name WHERE NOT EXISTS (
    SELECT FROM pg_trigger
    WHERE tgrelid = to_regclass(name) AND tgenabled IN ('O', 'A') AND NOT tgisinternal
      AND tgtype & 58 = 58 AND tgqual IS NULL)
"""

UNAUDITED = """
SELECT 'case ' || cases.id AS what FROM cases
WHERE status = 'resolved' AND NOT EXISTS (
    SELECT FROM audit_log WHERE target = 'case:' || cases.id AND action = 'case.resolve')
UNION ALL
SELECT 'cancellation of show ' || show_id FROM show_cancellations
WHERE NOT EXISTS (
    SELECT FROM audit_log WHERE target = 'show:' || show_id AND action = 'show.cancel')
"""


def a1(world: World) -> Iterator[str]:
    """A1 Every entry of the audit log is sealed into one chain, in its place, unchanged."""
    previous, sequence = b"", 0
    for row in world.each(SEALED):
        sequence += 1
        if row["sequence"] != sequence or row["previous_hash"] != previous:
            yield f"seal {row['sequence']} does not follow the one before it"
            sequence = row["sequence"]
        if row["id"] is None:
            yield f"entry {row['audit_id']} is gone (seal {row['sequence']})"
        elif row["hash"] != digest(row):
            yield f"entry {row['id']} is not what was sealed (seal {row['sequence']})"
        previous = row["hash"]
    yield from world.found(SLIPPED_IN, "entry {id} was put among entries that are sealed")
    yield from world.found(
        FORGOTTEN, "entry {id} of {at} has no seal yet", before=world.began - SEAL_WITHIN
    )


def a2(world: World) -> Iterator[str]:
    """A2 The application's role adds to the record; it neither rewrites it nor alters tables."""
    for row in world.rows(UNGUARDED, record=RECORD):
        yield f"no enabled trigger on {row['name']} refuses UPDATE, DELETE and TRUNCATE"
    found = world.rows(ROLE, role=APP_ROLE)
    if not found:
        raise NotRun(f"there is no role {APP_ROLE}")
    if found[0]["rolsuper"]:
        yield f"{APP_ROLE} is a superuser"
        return
    for row in world.rows(TOO_MUCH, role=APP_ROLE, record=RECORD):
        yield f"{APP_ROLE} may {row['may']}"


def q3(world: World) -> Iterator[str]:
    """Q3 Each resolved case and each cancelled show has its entry in the audit log."""
    yield from world.found(UNAUDITED, "{what} has no entry")


def digest(row: Row) -> bytes:
    """SHA-256 of the previous seal and the canonical JSON of what is told."""
    told = [row["id"], row["at"].astimezone(UTC).isoformat(timespec="microseconds")]
    told += [row[name] for name in ("actor", "role", "action", "target", "reason")]
    told += [row["details"], row["request_id"]]
    body = CANONICAL.encode(told).encode("ascii")
    return hashlib.sha256(bytes(row["previous_hash"]) + body).digest()


CHECKS = (a1, a2, q3)
