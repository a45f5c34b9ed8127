"""Second factors: one a user at most, each code of it good for one use."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid4

from sqlalchemy import text

from domain.events import Event, EventType
from infra.postgres import account_mail
from infra.postgres.audit import PostgresAudit
from infra.postgres.database import Database, Session
from infra.postgres.event_store import append_next
from infra.postgres.session import end_all
from services.second_factor import Factor

READ = text("""
SELECT secret, confirmed_at IS NOT NULL AS confirmed FROM second_factors WHERE user_id = :user_id
""")

BEGIN_ENROLMENT = text("""
INSERT INTO second_factors (user_id, secret) VALUES (:user_id, :secret)
ON CONFLICT (user_id) DO UPDATE
    SET secret = excluded.secret, created_at = clock_timestamp(), last_step = 0
    WHERE second_factors.confirmed_at IS NULL
""")

# The user's row is the lock of their stream of events.
LOCK_USER = text("SELECT 1 FROM users WHERE id = :user_id FOR UPDATE")

LOCK_BY_KEY = text("SELECT id FROM users WHERE email_key = :key FOR UPDATE")

CONFIRM = text("""
UPDATE second_factors SET confirmed_at = clock_timestamp(), last_step = :step
WHERE user_id = :user_id AND secret = :secret AND confirmed_at IS NULL
""")

ADD_CODES = text("""
INSERT INTO recovery_codes (user_id, code_hash)
SELECT :user_id, code_hash FROM unnest(CAST(:hashes AS bytea[])) AS code_hash
""")

MARK_SESSION = text("""
UPDATE sessions SET second_factor_at = CASE WHEN :strong THEN clock_timestamp() END
WHERE id = :session_id AND user_id = :user_id
""")

USE_STEP = text("""
UPDATE second_factors SET last_step = :step
WHERE user_id = :user_id AND confirmed_at IS NOT NULL AND last_step < :step
""")

USE_CODE = text("""
UPDATE recovery_codes SET used_at = clock_timestamp()
WHERE user_id = :user_id AND code_hash = :code_hash AND used_at IS NULL
""")

REMOVE = text("DELETE FROM second_factors WHERE user_id = :user_id")
REMOVE_CODES = text("DELETE FROM recovery_codes WHERE user_id = :user_id")


class PostgresSecondFactors:
    """See ``services.second_factor.FactorStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, user_id: UUID) -> Factor | None:
        async with self._database.statements() as session:
            row = await session.one(READ, user_id=user_id)
        return None if row is None else Factor(bytes(row.secret), row.confirmed)

    async def begin(self, user_id: UUID, sealed: bytes) -> bool:
        async with self._database.statements() as session:
            return await session.change(BEGIN_ENROLMENT, user_id=user_id, secret=sealed) == 1

    async def confirm(
        self,
        user_id: UUID,
        factor: Factor,
        step: int,
        recovery_hashes: Sequence[bytes],
        *,
        session_id: UUID,
        request_id: str | None,
    ) -> Sequence[UUID] | None:
        async with self._database.transaction() as session:
            session.later(LOCK_USER, user_id=user_id)
            values = {"user_id": user_id, "secret": factor.sealed, "step": step}
            if await session.change(CONFIRM, **values) == 0:
                return None
            session.later(ADD_CODES, user_id=user_id, hashes=list(recovery_hashes))
            return await _after(
                session, user_id, "added", session_id=session_id, request_id=request_id
            )

    async def use_step(self, user_id: UUID, step: int) -> bool:
        async with self._database.statements() as session:
            return await session.change(USE_STEP, user_id=user_id, step=step) == 1

    async def use_recovery(self, user_id: UUID, code_hash: bytes) -> bool:
        async with self._database.statements() as session:
            used = await session.change(USE_CODE, user_id=user_id, code_hash=code_hash) == 1
            if used:
                PostgresAudit(session).note(
                    "second_factor.recovered", target=f"user:{user_id}", actor=str(user_id)
                )
        return used

    async def remove(
        self, user_id: UUID, *, session_id: UUID, request_id: str | None
    ) -> Sequence[UUID]:
        async with self._database.transaction() as session:
            session.later(LOCK_USER, user_id=user_id)
            session.later(REMOVE_CODES, user_id=user_id)
            if await session.change(REMOVE, user_id=user_id) == 0:
                return []
            return await _after(
                session, user_id, "removed", session_id=session_id, request_id=request_id
            )

    async def reset(self, email_key: str, *, actor: str, reason: str) -> Sequence[UUID] | None:
        """Remove it for who lost it; the sessions that ended, None where there was none."""
        async with self._database.transaction() as session:
            row = await session.one(LOCK_BY_KEY, key=email_key)
            if row is None:
                return None
            session.later(REMOVE_CODES, user_id=row.id)
            if await session.change(REMOVE, user_id=row.id) == 0:
                return None
            return await _after(session, row.id, "removed", actor=actor, reason=reason)


EVENTS = {
    "added": EventType.SECOND_FACTOR_ADDED,
    "removed": EventType.SECOND_FACTOR_REMOVED,
}


async def _after(
    session: Session,
    user_id: UUID,
    what: str,
    *,
    session_id: UUID | None = None,
    request_id: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
) -> list[UUID]:
    """By its owner, who keeps ``session_id``, unless ``actor`` is named."""
    session.later(MARK_SESSION, session_id=session_id, user_id=user_id, strong=what == "added")
    template = f"second_factor_{what}"
    account_mail.queue(session, user_id=user_id, template=template, reference=uuid4())
    actor = actor or str(user_id)
    PostgresAudit(session).note(
        f"second_factor.{what}",
        target=f"user:{user_id}",
        actor=actor,
        reason=reason,
        request_id=request_id,
    )
    await append_next(session, user_id, Event(EVENTS[what], {}), actor=actor, request_id=request_id)
    return await end_all(session, user_id, reason="second_factor", but=session_id)
