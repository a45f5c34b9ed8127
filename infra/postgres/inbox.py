"""The webhook inbox: a row is committed before the provider hears 2xx."""

from __future__ import annotations

from sqlalchemy import text

from infra.postgres.database import Database

STORE = text("""
INSERT INTO webhook_inbox (provider, event_id, event_type, body, request_id, status, reason)
VALUES (:provider, :event_id, :event_type, :body, :request_id, :status, :reason)
ON CONFLICT (provider, event_id) DO NOTHING
""")


async def store(
    database: Database,
    *,
    provider: str,
    event_id: str,
    event_type: str,
    body: bytes,
    request_id: str | None,
    quarantine: str | None = None,
) -> bool:
    """Commit the event; False when it was there already.

    With ``quarantine``, the reason, no loop will ever take it up.
    """
    async with database.statements() as session:
        stored = await session.change(
            STORE,
            provider=provider,
            event_id=event_id,
            event_type=event_type,
            body=body,
            request_id=request_id,
            status="pending" if quarantine is None else "quarantined",
            reason=quarantine,
        )
    return stored == 1
