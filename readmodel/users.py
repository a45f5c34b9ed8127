"""An account as its owner sees it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain.user import Role, User
from infra.postgres.database import Session
from readmodel.bookings import stamp

BY_ID = text("SELECT id, email, name, phone, role, created_at FROM users WHERE id = :id")


async def read(session: Session, user_id: UUID) -> dict[str, Any] | None:
    row = await session.one(BY_ID, id=user_id)
    if row is None:
        return None
    return shape(User(row.id, row.email, row.name, row.phone, Role(row.role), row.created_at))


def shape(user: User) -> dict[str, Any]:
    """The account in the contract's shape."""
    return {
        "id": str(user.id),
        "email": user.email,
        "name": user.name,
        "phone": user.phone,
        "role": user.role.value,
        "created_at": stamp(user.created_at),
    }
