"""The log of what people with power did, and of what threatened the accounts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text

from domain.audit import AuditEntry, seal
from infra.postgres.database import Database, Session

# The role is the one that the actor has at that moment; what is no account says itself what it is.
NOTE = text("""
INSERT INTO audit_log (actor, role, action, target, reason, details, request_id)
VALUES (
    :actor,
    coalesce((SELECT role FROM users WHERE id = CAST(:user_id AS uuid)),
             split_part(:actor, ':', 1)),
    :action, :target, :reason, CAST(:details AS jsonb), :request_id
)
""")

# One seals at a time. Nothing can be added below the horizon of running transactions any more, so
# the order of (xid, id) is for good, and an entry whose transaction ends late is not passed over.
TURN = text("SELECT pg_try_advisory_xact_lock(hashtextextended('seathold audit seals', 0)) AS mine")
LAST_SEAL = text("""
SELECT sequence, hash, audit_id, xid::text AS xid
FROM audit_seals JOIN audit_log ON audit_log.id = audit_id
WHERE sequence > 0 ORDER BY sequence DESC LIMIT 1
""")
UNSEALED = text("""
SELECT id, at, actor, role, action, target, reason, details, request_id FROM audit_log
WHERE (xid, id) > (CAST(:xid AS xid8), :id) AND xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY xid, id LIMIT 500
""")
SEAL = text("""
INSERT INTO audit_seals (sequence, audit_id, previous_hash, hash)
SELECT * FROM unnest(CAST(:sequences AS bigint[]), CAST(:ids AS bigint[]),
                     CAST(:previous_hashes AS bytea[]), CAST(:hashes AS bytea[]))
""")
BATCH = 500


class PostgresAudit:
    """See ``services.ports.Audit``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def note(
        self,
        action: str,
        *,
        target: str,
        actor: str,
        reason: str | None = None,
        details: Mapping[str, Any] | None = None,
        request_id: str | None = None,
    ) -> None:
        self._session.later(
            NOTE,
            action=action,
            target=target,
            actor=actor,
            user_id=_account(actor),
            reason=reason,
            details=orjson.dumps(details).decode() if details is not None else None,
            request_id=request_id,
        )


class PostgresAuditSeals:
    """The chain over the log, see ``loops.audit_seal``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seal(self) -> tuple[int, int, bytes]:
        """Seal what has no seal yet, up to ``BATCH``; how many, and the chain's last link."""
        async with self._database.transaction() as session:
            turn = await session.one(TURN)
            last = await session.one(LAST_SEAL)
            sequence, previous = (last.sequence, bytes(last.hash)) if last else (0, b"")
            if turn is None or not turn.mine:
                return 0, sequence, previous
            place = {"xid": last.xid, "id": last.audit_id} if last else {"xid": "0", "id": 0}
            rows = await session.all(UNSEALED, **place)
            if not rows:
                return 0, sequence, previous
            links = [previous]
            for row in rows:
                links.append(seal(links[-1], entry_of(row)))
            session.later(
                SEAL,
                changes=len(rows),
                sequences=list(range(sequence + 1, sequence + len(rows) + 1)),
                ids=[row.id for row in rows],
                previous_hashes=links[:-1],
                hashes=links[1:],
            )
            return len(rows), sequence + len(rows), links[-1]


def entry_of(row: Any) -> AuditEntry:
    return AuditEntry(
        row.id,
        row.at,
        row.actor,
        row.role,
        row.action,
        row.target,
        row.reason,
        row.details,
        row.request_id,
    )


def _account(actor: str) -> UUID | None:
    """The account that acted, unless it was an operator, a provider or the like."""
    try:
        return UUID(actor)
    except ValueError:
        return None
