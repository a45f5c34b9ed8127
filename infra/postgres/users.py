"""Accounts and their refresh tokens, of which only hashes are kept."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import orjson
from sqlalchemy import text

from domain.events import Event, EventType, chain
from domain.user import Role, User
from infra.postgres.database import Database
from services.user import NewUser

ADD = text("""
WITH added AS (
    INSERT INTO users (id, email, email_key, name, phone, password_hash)
    VALUES (:id, :email, :email_key, :name, :phone, :password_hash)
    ON CONFLICT (email_key) DO NOTHING
    RETURNING id, email, name, phone, role, created_at
), session AS (
    INSERT INTO refresh_tokens (id, family_id, user_id, token_hash, expires_at)
    SELECT :token_id, :token_id, id, :token_hash,
           clock_timestamp() + make_interval(secs => :seconds)
    FROM added
), event AS (
    INSERT INTO events (aggregate_id, sequence, event_type, payload, actor, request_id, version,
                        previous_hash, hash)
    SELECT id, :sequence, :event_type, CAST(:payload AS jsonb), CAST(:id AS text), :request_id, 1,
           :previous_hash, :hash
    FROM added
)
SELECT * FROM added
""")

BY_KEY = text("""
SELECT id, email, name, phone, role, created_at, password_hash FROM users WHERE email_key = :key
""")

REPLACE_HASH = text("""
UPDATE users SET password_hash = :new, updated_at = clock_timestamp()
WHERE id = :id AND password_hash = :old
""")

OPEN_SESSION = text("""
INSERT INTO refresh_tokens (id, family_id, user_id, token_hash, expires_at)
VALUES (:id, :id, :user_id, :token_hash, clock_timestamp() + make_interval(secs => :seconds))
""")

# A family with one revoked token is dead. So revoking touches one row and cannot deadlock, and a
# successor that is added while its family is being revoked does not live on.
ROTATE = text("""
WITH used AS (
    UPDATE refresh_tokens AS token SET used_at = clock_timestamp()
    WHERE token_hash = :token_hash AND used_at IS NULL AND expires_at > clock_timestamp()
      AND NOT EXISTS (SELECT 1 FROM refresh_tokens AS relative
                      WHERE relative.family_id = token.family_id AND revoked_at IS NOT NULL)
    RETURNING family_id, user_id
), successor AS (
    INSERT INTO refresh_tokens (id, family_id, user_id, token_hash, expires_at)
    SELECT :id, family_id, user_id, :successor_hash,
           clock_timestamp() + make_interval(secs => :seconds)
    FROM used
    RETURNING user_id
)
SELECT users.id, email, name, phone, role, users.created_at
FROM users JOIN successor ON successor.user_id = users.id
""")

REVOKE_IF_USED = text("""
UPDATE refresh_tokens SET revoked_at = clock_timestamp()
WHERE token_hash = :token_hash AND used_at IS NOT NULL AND revoked_at IS NULL
""")
REVOKE = text("""
UPDATE refresh_tokens SET revoked_at = coalesce(revoked_at, clock_timestamp())
WHERE token_hash = :token_hash
""")


class PostgresAccounts:
    """See ``services.user.AccountStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, new: NewUser, token_hash: bytes, *, seconds: int, request_id: str | None
    ) -> User | None:
        # The payload names nobody: events outlive an account that is erased.
        registered = Event(EventType.USER_REGISTERED, {"user_id": str(new.id)})
        [first] = chain(new.id, [registered], sequence=0, previous_hash=b"")
        values = {
            "id": new.id,
            "email": new.email,
            "email_key": new.email_key,
            "name": new.name,
            "phone": new.phone,
            "password_hash": new.password_hash,
            "token_id": uuid4(),
            "token_hash": token_hash,
            "seconds": seconds,
            "sequence": first.sequence,
            "event_type": str(registered.type),
            "payload": orjson.dumps(dict(registered.payload)).decode(),
            "request_id": request_id,
            "previous_hash": first.previous_hash,
            "hash": first.hash,
        }
        async with self._database.statements() as session:
            row = await session.one(ADD, **values)
        return _as_user(row) if row else None

    async def credentials(self, email_key: str) -> tuple[User, str] | None:
        async with self._database.statements() as session:
            row = await session.one(BY_KEY, key=email_key)
        return (_as_user(row), row.password_hash) if row else None

    async def replace_hash(self, user_id: UUID, *, old: str, new: str) -> None:
        async with self._database.statements() as session:
            await session.change(REPLACE_HASH, id=user_id, old=old, new=new)

    async def open_session(self, user_id: UUID, token_hash: bytes, *, seconds: int) -> None:
        async with self._database.statements() as session:
            await session.change(
                OPEN_SESSION, id=uuid4(), user_id=user_id, token_hash=token_hash, seconds=seconds
            )

    async def rotate(
        self, token_hash: bytes, successor_hash: bytes, *, seconds: int
    ) -> User | None:
        values = {
            "id": uuid4(),
            "token_hash": token_hash,
            "successor_hash": successor_hash,
            "seconds": seconds,
        }
        async with self._database.transaction() as session:
            row = await session.one(ROTATE, **values)
            if row is None:
                session.later(REVOKE_IF_USED, token_hash=token_hash)
        return _as_user(row) if row else None

    async def close_session(self, token_hash: bytes) -> bool:
        async with self._database.statements() as session:
            return await session.change(REVOKE, token_hash=token_hash) > 0


def _as_user(row: Any) -> User:
    return User(row.id, row.email, row.name, row.phone, Role(row.role), row.created_at)
