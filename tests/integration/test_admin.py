"""``seathold admin create``: an admin once, and never a way into an account that exists."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.passwords import Argon2Passwords
from infra.settings import Settings
from seathold.admin import create_admin

ACCOUNTS = text("SELECT email, role, password_hash FROM users WHERE email_key = :key")


async def test_an_admin_is_made_once_under_any_spelling(
    settings: Settings, engine: AsyncEngine
) -> None:
    key = f"boss-{uuid4().hex[:8]}@example.test"
    await create_admin(settings, key.upper(), "the first password")
    await create_admin(settings, key, "another password")
    async with engine.connect() as connection:
        ((email, role, stored),) = (await connection.execute(ACCOUNTS, {"key": key})).all()
    assert (email, role) == (key.upper(), "owner")
    passwords = Argon2Passwords(workers=1)
    assert await passwords.matches(stored, "the first password")
    assert not await passwords.matches(stored, "another password")
    passwords.close()
