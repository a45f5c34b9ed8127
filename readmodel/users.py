"""An account as its owner sees it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain.user import User
from infra.postgres.database import Session
from infra.postgres.session import as_user
from readmodel.instants import stamp

MOST_SESSIONS = 100

BY_ID = text("""
SELECT users.*, EXISTS (SELECT 1 FROM second_factors AS factor
                        WHERE factor.user_id = users.id AND confirmed_at IS NOT NULL)
       AS second_factor
FROM users WHERE id = :id AND erased_at IS NULL
""")

KNOWN = text("SELECT id FROM users WHERE id = :id")

SESSIONS = text("""
SELECT id, client, created_at, refreshed_at, least(idle_expires_at, expires_at) AS expires_at,
       second_factor_at IS NOT NULL AS second_factor
FROM sessions
WHERE user_id = :user_id AND ended_at IS NULL AND least(idle_expires_at, expires_at) > now()
ORDER BY refreshed_at DESC, id LIMIT :limit
""")


async def read(session: Session, user_id: UUID) -> dict[str, Any] | None:
    row = await session.one(BY_ID, id=user_id)
    return None if row is None else shape(as_user(row))


async def is_known(session: Session, user_id: UUID) -> bool:
    """Whether there is such an account, or was one: who erased theirs leaves bookings."""
    return await session.one(KNOWN, id=user_id) is not None


async def sessions(session: Session, user_id: UUID, *, current: UUID) -> dict[str, Any]:
    """The live sessions, the one used last first; ``current`` is the one that asks."""
    rows = await session.all(SESSIONS, user_id=user_id, limit=MOST_SESSIONS)
    return {
        "items": [
            {
                "id": str(row.id),
                "client": row.client,
                "created_at": stamp(row.created_at),
                "refreshed_at": stamp(row.refreshed_at),
                "expires_at": stamp(row.expires_at),
                "second_factor": row.second_factor,
                "current": row.id == current,
            }
            for row in rows
        ],
        "next": None,
    }


def shape(user: User) -> dict[str, Any]:
    """The account in the contract's shape."""
    return {
        "id": str(user.id),
        "email": user.email,
        "email_verified": user.email_verified,
        "name": user.name,
        "phone": user.phone,
        "locale": user.locale,
        "notifications": {"email": user.notifications.email, "sms": user.notifications.sms},
        "second_factor": user.second_factor,
        "role": user.role.value,
        "created_at": stamp(user.created_at),
    }
