"""Accounts changed and erased by their owners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import text

from domain.events import Event, EventType
from domain.user import User
from infra.postgres.audit import PostgresAudit
from infra.postgres.database import Database, Session
from infra.postgres.event_store import append_next
from infra.postgres.session import as_user, end_all
from services.profile import Unerased, Value

CHANGE = text("""
UPDATE users SET
    name = coalesce(:name, name),
    phone = CASE WHEN :sets_phone THEN :phone ELSE phone END,
    locale = coalesce(:locale, locale),
    notify_email = coalesce(CAST(:notify_email AS boolean), notify_email),
    notify_sms = coalesce(CAST(:notify_sms AS boolean), notify_sms),
    updated_at = clock_timestamp()
WHERE id = :id AND erased_at IS NULL
RETURNING users.*, EXISTS (SELECT 1 FROM second_factors AS factor
                           WHERE factor.user_id = users.id AND confirmed_at IS NOT NULL)
          AS second_factor
""")

# The lock of a user's holds: no seat is held for somebody who is being erased.
LOCK_HOLDS = text("SELECT pg_advisory_xact_lock(hashtextextended(:user_id, 0))")

OPEN_BOOKINGS = text("""
SELECT id FROM bookings
WHERE user_id = :id AND state IN ('held', 'expiring', 'cancelling')
UNION ALL
SELECT id FROM booking_requests WHERE user_id = :id AND outcome IS NULL
LIMIT 100
""")

# Whoever erases an owner locks them all, in one order: two last ones cannot go at once.
OTHER_OWNERS = text("""
SELECT id FROM users WHERE role = 'owner' AND blocked_at IS NULL AND erased_at IS NULL
ORDER BY id FOR UPDATE
""")

ROLE = text("SELECT role FROM users WHERE id = :id")

ERASE = text("""
UPDATE users SET email = NULL, email_key = NULL, name = '', phone = NULL, password_hash = NULL,
    role = 'user', locale = 'en', notify_email = false, notify_sms = false,
    email_verified_at = NULL, erased_at = clock_timestamp(), updated_at = clock_timestamp()
WHERE id = :id AND erased_at IS NULL
""")

FORGET_TOKENS = text("DELETE FROM account_tokens WHERE user_id = :id")
FORGET_FACTOR = text("DELETE FROM second_factors WHERE user_id = :id")
FORGET_CODES = text("DELETE FROM recovery_codes WHERE user_id = :id")
FORGET_ANSWERS = text("DELETE FROM idempotency_keys WHERE user_id = :id")
FORGET_KEYS = text("DELETE FROM api_keys WHERE account_id = :id")
FORGET_ENDPOINTS = text("DELETE FROM partner_endpoints WHERE owner_id = :id")
FORGET_CLIENTS = text("UPDATE sessions SET client = NULL WHERE user_id = :id")

# What they wrote themselves; what the staff say stands in the audit log.
FORGET_NOTES = text("""
UPDATE refunds SET note = NULL
WHERE booking_id IN (SELECT id FROM bookings WHERE user_id = :id) AND note IS NOT NULL
""")


class PostgresProfiles:
    """See ``services.profile.ProfileStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def change(
        self, user_id: UUID, changes: Mapping[str, Value], *, request_id: str | None
    ) -> User | None:
        named = ("name", "phone", "locale", "notify_email", "notify_sms")
        values = {name: changes.get(name) for name in named}
        async with self._database.transaction() as session:
            row = await session.one(CHANGE, id=user_id, sets_phone="phone" in changes, **values)
            if row is None:
                return None
            if changes:
                # Which fields, and never what is in them.
                event = Event(EventType.PROFILE_CHANGED, {"fields": sorted(changes)})
                await append_next(
                    session, user_id, event, actor=str(user_id), request_id=request_id
                )
        return as_user(row)

    async def erase(self, user_id: UUID, *, request_id: str | None) -> Unerased | Sequence[UUID]:
        async with self._database.transaction() as session:
            session.later(LOCK_HOLDS, user_id=str(user_id))
            open_bookings = await session.all(OPEN_BOOKINGS, id=user_id)
            if open_bookings:
                return Unerased(open_bookings=[row.id for row in open_bookings])
            if await _is_last_owner(session, user_id):
                return Unerased(last_owner=True)
            if await session.change(ERASE, id=user_id) == 0:
                return []
            for statement in (
                FORGET_TOKENS,
                FORGET_FACTOR,
                FORGET_CODES,
                FORGET_ANSWERS,
                FORGET_KEYS,
                FORGET_ENDPOINTS,
                FORGET_CLIENTS,
                FORGET_NOTES,
            ):
                session.later(statement, id=user_id)
            actor = str(user_id)
            PostgresAudit(session).note(
                "account.erased", target=f"user:{user_id}", actor=actor, request_id=request_id
            )
            event = Event(EventType.USER_ERASED, {})
            await append_next(session, user_id, event, actor=actor, request_id=request_id)
            return await end_all(session, user_id, reason="erased")


async def _is_last_owner(session: Session, user_id: UUID) -> bool:
    row = await session.one(ROLE, id=user_id)
    if row is None or row.role != "owner":
        return False
    return all(owner.id == user_id for owner in await session.all(OTHER_OWNERS))
