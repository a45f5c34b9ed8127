"""Accounts, and the stream of events that each of them has."""

from __future__ import annotations

from uuid import UUID, uuid4

import orjson
from sqlalchemy import text

from domain.events import Event, EventType, chain
from domain.user import MAILED_TOKEN_SECONDS, User
from infra.opaque_tokens import OpaqueTokens, hashed
from infra.postgres.database import Database
from infra.postgres.session import as_user
from services.session import NewSession
from services.user import Credentials, NewUser

ADD = text("""
WITH added AS (
    INSERT INTO users (id, email, email_key, name, phone, password_hash)
    VALUES (:id, :email, :email_key, :name, :phone, :password_hash)
    ON CONFLICT (email_key) DO NOTHING
    RETURNING *
), session AS (
    INSERT INTO sessions (id, user_id, token_hash, client, idle_expires_at, expires_at)
    SELECT :session_id, id, :token_hash, :client,
           clock_timestamp() + make_interval(secs => :idle),
           clock_timestamp() + make_interval(secs => :lasts)
    FROM added
), event AS (
    INSERT INTO events (aggregate_id, sequence, event_type, schema_version, payload, actor,
                        request_id, version, previous_hash, hash)
    SELECT id, :sequence, :event_type, :schema_version, CAST(:payload AS jsonb), :actor,
           :request_id, 1, :previous_hash, :hash
    FROM added
), token AS (
    INSERT INTO account_tokens (id, user_id, purpose, token_hash, expires_at)
    SELECT :mailed_id, id, 'verify_email', :mailed_hash,
           clock_timestamp() + make_interval(secs => :mailed_lasts)
    FROM added
), mail AS (
    INSERT INTO notification_outbox (reference, user_id, template, channel)
    SELECT :mailed_id, id, 'verify_email', 'email' FROM added
)
SELECT added.*, false AS second_factor FROM added
""")

BY_KEY = text("""
SELECT users.*, EXISTS (SELECT 1 FROM second_factors AS factor
                        WHERE factor.user_id = users.id AND confirmed_at IS NOT NULL)
       AS second_factor
FROM users WHERE email_key = :key
""")

REPLACE_HASH = text("""
UPDATE users SET password_hash = :new, updated_at = clock_timestamp()
WHERE id = :id AND password_hash = :old
""")


class PostgresAccounts:
    """See ``services.user.AccountStore``; how long a session lives, and how long unused."""

    def __init__(
        self, database: Database, tokens: OpaqueTokens, *, idle_seconds: int, seconds: int
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._idle = min(idle_seconds, seconds)
        self._lasts = seconds

    async def add(self, new: NewUser, opened: NewSession, *, request_id: str | None) -> User | None:
        # The payload names nobody: events outlive an account that is erased.
        registered = Event(EventType.USER_REGISTERED, {"user_id": str(new.id)})
        [first] = chain(
            new.id,
            [registered],
            sequence=0,
            previous_hash=b"",
            actor=str(new.id),
            request_id=request_id,
        )
        mailed_id = uuid4()
        mailed = self._tokens.mailed(mailed_id, "verify_email")
        values = {
            "id": new.id,
            "email": new.email,
            "email_key": new.email_key,
            "name": new.name,
            "phone": new.phone,
            "password_hash": new.password_hash,
            "session_id": opened.id,
            "token_hash": hashed(opened.refresh_token),
            "client": opened.client,
            "idle": self._idle,
            "lasts": self._lasts,
            "mailed_id": mailed_id,
            "mailed_hash": hashed(mailed),
            "mailed_lasts": MAILED_TOKEN_SECONDS,
            "sequence": first.sequence,
            "event_type": str(registered.type),
            "schema_version": first.schema_version,
            "actor": str(new.id),
            "payload": orjson.dumps(dict(registered.payload)).decode(),
            "request_id": request_id,
            "previous_hash": first.previous_hash,
            "hash": first.hash,
        }
        async with self._database.statements() as session:
            row = await session.one(ADD, **values)
        return as_user(row) if row else None

    async def credentials(self, email_key: str) -> Credentials | None:
        async with self._database.statements() as session:
            row = await session.one(BY_KEY, key=email_key)
        if row is None:
            return None
        return Credentials(as_user(row), row.password_hash, row.blocked_at is not None)

    async def replace_hash(self, user_id: UUID, *, old: str, new: str) -> None:
        async with self._database.statements() as session:
            await session.change(REPLACE_HASH, id=user_id, old=old, new=new)
