"""``seathold audit``: what people with power did, and whether the chain over it is whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from domain.audit import seal
from infra.postgres.audit import entry_of
from seathold.reading import Connection, connect

BATCH = 2000

Say = Callable[[str], None]

ENTRIES = """
SELECT * FROM audit_log
WHERE (CAST(%(actor)s AS text) IS NULL OR actor = %(actor)s)
  AND (CAST(%(action)s AS text) IS NULL OR action = %(action)s)
  AND (CAST(%(target)s AS text) IS NULL OR target = %(target)s)
  AND (CAST(%(since)s AS timestamptz) IS NULL OR at >= %(since)s)
ORDER BY id DESC LIMIT %(limit)s
"""
SEALED = """
SELECT sequence, audit_id, previous_hash, hash, audit_log.* FROM audit_seals
LEFT JOIN audit_log ON audit_log.id = audit_id
WHERE sequence > %s ORDER BY sequence LIMIT %s
"""
# A seal follows its entry in the order of (xid, id): one without, before the last that has one,
# came in by another way.
SLIPPED_IN = """
SELECT audit_log.id, action FROM audit_log
WHERE NOT EXISTS (SELECT FROM audit_seals WHERE audit_id = audit_log.id)
  AND (xid, audit_log.id) < (
      SELECT xid, audit_log.id FROM audit_seals JOIN audit_log ON audit_log.id = audit_id
      ORDER BY sequence DESC LIMIT 1)
ORDER BY audit_log.id
"""
WAITING = """
SELECT count(*) AS entries FROM audit_log
WHERE NOT EXISTS (SELECT FROM audit_seals WHERE audit_id = audit_log.id)
"""


def newest(
    url: str,
    say: Say,
    *,
    limit: int,
    actor: str | None,
    action: str | None,
    target: str | None,
    since: datetime | None,
    as_json: bool,
) -> None:
    """Tell the newest entries, oldest first."""
    wanted = {"actor": actor, "action": action, "target": target, "since": since, "limit": limit}
    with connect(url) as db:
        rows = db.execute(ENTRIES, wanted).fetchall()
    for row in reversed(rows):
        say(as_json_line(row) if as_json else as_line(row))


def verify(url: str, say: Say) -> bool:
    """Recompute the chain and name what broke; True when all of it is whole.

    The chain's end is told, to be compared with what the worker's log says (``audit_sealed``):
    whoever owns the server could cut both the entries and the seals off at the end.
    """
    with connect(url) as db:
        broken = list(_breaks(db))
        last = db.execute("SELECT * FROM audit_seals ORDER BY sequence DESC LIMIT 1").fetchone()
        waiting = db.execute(WAITING).fetchall()[0].entries
    for sentence in broken:
        say(sentence)
    end = f"no. {last.sequence}, {bytes(last.hash).hex()}" if last else "nothing yet"
    say(f"{len(broken) or 'None'} broken; sealed up to {end}; {waiting} to be sealed.")
    return not broken


def _breaks(db: Connection) -> Iterator[str]:
    previous, sequence = b"", 0
    while page := db.execute(SEALED, (sequence, BATCH)).fetchall():
        for row in page:
            sequence += 1
            name = f"entry {row.audit_id} (seal {row.sequence})"
            if row.sequence != sequence:
                yield f"{name}: seal {sequence} is missing before it"
                sequence = row.sequence
            if row.id is None:
                yield f"{name}: the entry is gone"
            elif bytes(row.hash) != seal(bytes(row.previous_hash), entry_of(row)):
                yield f"{name}: is not what was sealed ({row.action} of {row.target})"
            if bytes(row.previous_hash) != previous:
                yield f"{name}: does not follow the seal before it"
            previous = bytes(row.hash)
    for row in db.execute(SLIPPED_IN).fetchall():
        yield f"entry {row.id} ({row.action}): was put among entries that are sealed"


def as_json_line(row: Any) -> str:
    return json.dumps(
        {
            "id": row.id,
            "at": row.at.isoformat(),
            "actor": row.actor,
            "role": row.role,
            "action": row.action,
            "target": row.target,
            "reason": row.reason,
            "details": row.details,
            "request_id": row.request_id,
        }
    )


def as_line(row: Any) -> str:
    at = row.at.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
    why = f": {row.reason}" if row.reason else ""
    details = f" {json.dumps(row.details, ensure_ascii=False)}" if row.details else ""
    return f"{at} {row.action} {row.target} by {row.actor} ({row.role}){why}{details}"
