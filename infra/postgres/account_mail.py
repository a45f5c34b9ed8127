"""Messages about an account: queued with the change they tell of, read when they are sent."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text

from infra.opaque_tokens import OpaqueTokens
from infra.postgres.database import Database, Session
from infra.postgres.outbox import Tries, delivery_of, record_lost
from services.account_mail import PURPOSES, AccountNotice
from services.notification import Delivery

QUEUE = text("""
INSERT INTO notification_outbox (reference, user_id, template, channel)
VALUES (:reference, :user_id, :template, 'email')
""")

# The token is good until it is used or over: one that is neither is what the message carries.
CLAIM = text("""
WITH due AS (
    SELECT id FROM notification_outbox
    WHERE booking_id IS NULL AND state = 'pending' AND next_attempt_at <= now()
    ORDER BY next_attempt_at LIMIT :limit FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE notification_outbox AS notice SET state = 'sending', attempts = attempts + 1,
        next_attempt_at = now() + make_interval(secs => :lease_seconds)
    FROM due WHERE notice.id = due.id
    RETURNING notice.id, reference, user_id, template, revision, channel, attempts,
        ambiguous_attempts, created_at
)
SELECT claimed.*, users.name, users.email, token.token_hash,
       (token.used_at IS NULL AND token.expires_at > now()) AS is_good,
       ceil(extract(epoch FROM token.expires_at - now()) / 60)::int AS minutes
FROM claimed JOIN users ON users.id = claimed.user_id
LEFT JOIN account_tokens AS token ON token.id = claimed.reference
ORDER BY claimed.id
""")


def queue(session: Session, *, user_id: UUID, template: str, reference: UUID) -> None:
    """Add a message to the caller's transaction; ``reference`` is the row of its token, if any."""
    session.later(QUEUE, reference=reference, user_id=user_id, template=template)


class PostgresAccountOutbox(Tries):
    """See ``services.notification.OutboxQueue``."""

    def __init__(self, database: Database, tokens: OpaqueTokens) -> None:
        super().__init__(database)
        self._tokens = tokens

    async def take(
        self, limit: int, *, lease_seconds: float
    ) -> list[tuple[Delivery, AccountNotice]]:
        async with self._database.statements() as session:
            await record_lost(session, limit)
            rows = await session.all(CLAIM, limit=limit, lease_seconds=lease_seconds)
        return [(delivery_of(row), self._notice(row)) for row in rows]

    def _notice(self, row: Any) -> AccountNotice:
        purpose = PURPOSES.get(row.template)
        token = None
        if purpose and row.is_good:
            token = self._tokens.mailed_again(row.reference, purpose, bytes(row.token_hash))
        return AccountNotice(
            reference=row.reference,
            template=row.template,
            revision=row.revision,
            name=row.name,
            email=row.email,
            at=row.created_at,
            token=token,
            minutes=row.minutes,
        )
