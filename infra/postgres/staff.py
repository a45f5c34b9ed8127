"""The staff's accounts. Whoever changes one first locks the owners, so that one is always left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain.errors import Conflict
from domain.events import Event, EventType
from domain.user import Role, email_key
from infra.postgres.audit import PostgresAudit
from infra.postgres.database import Database, Session
from infra.postgres.event_store import append_next
from infra.postgres.session import end_all
from services.staff import Act, Invitation, Standing

INVITE = text("""
INSERT INTO users (id, email, email_key, name, password_hash, role)
VALUES (:id, :email, :email_key, :name, :password_hash, :role)
ON CONFLICT (email_key) DO NOTHING
""")
LOCK_OWNERS = text("""
SELECT id FROM users WHERE role <> 'user' AND role = 'owner' AND blocked_at IS NULL
ORDER BY id FOR UPDATE
""")
LOCK = text("""
SELECT role, blocked_at IS NOT NULL AS blocked FROM users
WHERE id = :id AND erased_at IS NULL FOR UPDATE
""")
CHANGE = text("""
UPDATE users SET role = :role, updated_at = clock_timestamp(),
    blocked_at = CASE WHEN :blocked THEN coalesce(blocked_at, clock_timestamp()) END
WHERE id = :id
""")


class PostgresStaff:
    """See ``services.staff.StaffStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def invite(self, new: Invitation, act: Act) -> bool:
        async with self._database.transaction() as session:
            added = await session.change(
                INVITE,
                id=new.id,
                email=new.email,
                email_key=email_key(new.email),
                name=new.name,
                password_hash=new.password_hash,
                role=new.role,
            )
            if added:
                _note(session, "invite", new.id, act, {"role": new.role})
        return added == 1

    async def change(
        self, user_id: UUID, act: Act, *, role: Role | None = None, blocked: bool | None = None
    ) -> Sequence[UUID] | None:
        async with self._database.transaction() as session:
            owners = {row.id for row in await session.all(LOCK_OWNERS)}
            row = await session.one(LOCK, id=user_id)
            if row is None:
                return None
            was = Standing(Role(row.role), row.blocked)
            wanted = Standing(
                was.role if role is None else role, was.blocked if blocked is None else blocked
            )
            if wanted == was:
                return []
            stays = wanted.role is Role.OWNER and not wanted.blocked
            if owners == {user_id} and not stays:
                raise Conflict(
                    "This is the last owner; make somebody else one first.", code="last_owner"
                )
            await session.change(CHANGE, id=user_id, role=wanted.role, blocked=wanted.blocked)
            if wanted.role is not was.role:
                _note(session, "role", user_id, act, {"from": was.role, "to": wanted.role})
            if wanted.blocked is not was.blocked:
                _note(session, "block" if wanted.blocked else "unblock", user_id, act)
                kind = EventType.USER_BLOCKED if wanted.blocked else EventType.USER_UNBLOCKED
                # Why is the audit log's alone: it may speak of a person.
                await append_next(
                    session,
                    user_id,
                    Event(kind, {}),
                    actor=str(act.actor),
                    request_id=act.request_id,
                )
            return await end_all(session, user_id, reason="staff")


def _note(
    session: Session, action: str, user_id: UUID, act: Act, details: dict[str, Any] | None = None
) -> None:
    PostgresAudit(session).note(
        f"staff.{action}",
        target=f"user:{user_id}",
        actor=str(act.actor),
        reason=act.reason,
        details=details,
        request_id=act.request_id,
    )
