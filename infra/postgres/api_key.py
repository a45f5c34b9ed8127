"""API keys, of which only hashes are kept."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

from sqlalchemy import text

from infra.postgres.audit import PostgresAudit
from infra.postgres.database import Database, Session
from services.api_key import NewKey
from services.staff import Act

# Holding the account's row keeps its keys counted: two at once could each be the last one.
LOCK_ACCOUNT = text("""
SELECT 1 FROM users
WHERE id = :id AND role = 'user' AND blocked_at IS NULL AND erased_at IS NULL FOR UPDATE
""")
COUNT = text("""
SELECT count(*) AS keys FROM api_keys
WHERE account_id = :id AND revoked_at IS NULL
  AND (expires_at IS NULL OR expires_at > clock_timestamp())
""")
ADD = text("""
INSERT INTO api_keys (id, account_id, name, prefix, secret_hash, scopes, per_minute, expires_at)
VALUES (:id, :account_id, :name, :prefix, :secret_hash, CAST(:scopes AS text[]), :per_minute,
        clock_timestamp() + make_interval(days => CAST(:days AS integer)))
""")
ROTATE = text("""
UPDATE api_keys SET previous_hash = secret_hash, secret_hash = :secret_hash,
    previous_until = clock_timestamp() + make_interval(secs => :grace)
WHERE id = :id AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())
RETURNING prefix
""")
REVOKE = text("""
UPDATE api_keys SET revoked_at = clock_timestamp() WHERE id = :id AND revoked_at IS NULL
""")
EXISTS = text("SELECT 1 FROM api_keys WHERE id = :id")

# A key speaks for its account, so that one that is blocked, erased or of the staff has none.
FIND = text("""
SELECT api_keys.id, account_id, secret_hash, scopes, per_minute,
       CASE WHEN previous_until > clock_timestamp() THEN previous_hash END AS previous_hash,
       coalesce(last_used_at < clock_timestamp() - make_interval(secs => :coarse), true) AS stale
FROM api_keys JOIN users ON users.id = account_id
WHERE prefix = :prefix AND revoked_at IS NULL
  AND (expires_at IS NULL OR expires_at > clock_timestamp())
  AND role = 'user' AND blocked_at IS NULL AND erased_at IS NULL
""")
TOUCH = text("""
UPDATE api_keys SET last_used_at = clock_timestamp()
WHERE id = :id
  AND coalesce(last_used_at < clock_timestamp() - make_interval(secs => :coarse), true)
""")


class PostgresApiKeys:
    """See ``services.api_key.ApiKeyStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, new: NewKey, act: Act, *, most: int) -> bool | None:
        async with self._database.transaction() as session:
            if await session.one(LOCK_ACCOUNT, id=new.account_id) is None:
                return None
            counted = await session.one(COUNT, id=new.account_id)
            if counted is not None and counted.keys >= most:
                return False
            scopes = sorted(new.scopes)
            await session.change(
                ADD,
                id=new.id,
                account_id=new.account_id,
                name=new.name,
                prefix=new.parts.prefix,
                secret_hash=hashed(new.parts.secret),
                scopes=scopes,
                per_minute=new.per_minute,
                days=new.days,
            )
            details = {"account_id": str(new.account_id), "scopes": scopes}
            _note(session, "create", new.id, act, details)
        return True

    async def rotate(
        self, key_id: UUID, secret: str, act: Act, *, grace_seconds: int
    ) -> str | None:
        async with self._database.transaction() as session:
            row = await session.one(
                ROTATE, id=key_id, secret_hash=hashed(secret), grace=grace_seconds
            )
            if row is None:
                return None
            _note(session, "rotate", key_id, act, {"grace_seconds": grace_seconds})
            return str(row.prefix)

    async def revoke(self, key_id: UUID, act: Act) -> bool:
        async with self._database.transaction() as session:
            if await session.change(REVOKE, id=key_id):
                _note(session, "revoke", key_id, act)
                return True
            return await session.one(EXISTS, id=key_id) is not None


def hashed(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _note(
    session: Session, action: str, key_id: UUID, act: Act, details: dict[str, Any] | None = None
) -> None:
    PostgresAudit(session).note(
        f"api_key.{action}",
        target=f"api_key:{key_id}",
        actor=str(act.actor),
        reason=act.reason,
        details=details,
        request_id=act.request_id,
    )
