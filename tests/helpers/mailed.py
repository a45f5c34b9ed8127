"""The tokens that mail carries: made anew from their row, as the sender does."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.opaque_tokens import OpaqueTokens
from infra.settings import Settings

NEWEST = text("""
SELECT reference FROM notification_outbox
WHERE user_id = :user AND template = :template ORDER BY id DESC LIMIT 1
""")
TEMPLATES = text("""
SELECT template FROM notification_outbox
WHERE user_id = :user AND booking_id IS NULL ORDER BY id
""")
AGED = text("""
UPDATE account_tokens SET created_at = created_at - interval '2 minutes' WHERE user_id = :user
""")


async def mailed_token(engine: AsyncEngine, settings: Settings, user_id: str, template: str) -> str:
    """The token of the newest such mail to this user."""
    async with engine.connect() as connection:
        found = await connection.scalar(NEWEST, {"user": UUID(user_id), "template": template})
    assert found is not None, f"no {template} was queued"
    return OpaqueTokens(settings.key_ring).mailed(found, template)


async def letters_to(engine: AsyncEngine, user_id: str) -> list[str]:
    """Which messages about the account were queued, oldest first."""
    async with engine.connect() as connection:
        return list(await connection.scalars(TEMPLATES, {"user": UUID(user_id)}))


async def two_minutes_pass(engine: AsyncEngine, user_id: str) -> None:
    """So that another mail may be asked for."""
    async with engine.begin() as connection:
        await connection.execute(AGED, {"user": UUID(user_id)})
