"""Passwords changed and reset, addresses verified: by single-use tokens that mail carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from domain.events import Event, EventType
from domain.user import MAIL_AGAIN_SECONDS, MAILED_TOKEN_SECONDS
from infra.opaque_tokens import OpaqueTokens, hashed
from infra.postgres import account_mail
from infra.postgres.database import Database, Session
from infra.postgres.event_store import append_next
from infra.postgres.session import end_all
from services.password import Owner

OWNER = text("""
SELECT id, email, name, password_hash FROM users
WHERE id = :id AND password_hash IS NOT NULL AND blocked_at IS NULL
""")

OWNER_OF_TOKEN = text("""
SELECT users.id, email, name, password_hash
FROM account_tokens AS token JOIN users ON users.id = token.user_id
WHERE token_hash = :token_hash AND purpose = 'reset_password' AND used_at IS NULL
  AND token.expires_at > clock_timestamp() AND password_hash IS NOT NULL AND blocked_at IS NULL
""")

CHANGE = text("""
UPDATE users SET password_hash = :new, updated_at = clock_timestamp()
WHERE id = :id AND password_hash = :old AND blocked_at IS NULL
""")

# Who can read the mail of an address has shown that it is theirs.
SET_HASH = text("""
UPDATE users SET password_hash = :new, updated_at = clock_timestamp(),
    email_verified_at = coalesce(email_verified_at, clock_timestamp())
WHERE id = :id AND password_hash IS NOT NULL AND blocked_at IS NULL
""")

USE = text("""
UPDATE account_tokens SET used_at = clock_timestamp()
WHERE token_hash = :token_hash AND purpose = :purpose AND used_at IS NULL
  AND expires_at > clock_timestamp() AND user_id IS NOT NULL
RETURNING user_id
""")

# A changed password makes the mails of before worthless.
USE_UP = text("""
UPDATE account_tokens SET used_at = clock_timestamp()
WHERE user_id = :user_id AND purpose = 'reset_password' AND used_at IS NULL
""")

VERIFY = text("""
UPDATE users SET email_verified_at = clock_timestamp(), updated_at = clock_timestamp()
WHERE id = :id AND email_verified_at IS NULL AND erased_at IS NULL
""")

# Who asks at the same moment waits here, and then sees that a mail went out just now. By a
# statement of its own: one that locks and looks at once would see what was before it waited.
HOLD_BY_KEY = text("SELECT 1 FROM users WHERE email_key = :key FOR NO KEY UPDATE")
HOLD_BY_ID = text("SELECT 1 FROM users WHERE id = :user_id FOR NO KEY UPDATE")

# A row is written for an address without an account too, so that both take the same time. Only
# the message beside it is missing, and its row is a hundredth of what this costs.
MAIL_RESET = text("""
WITH known AS (
    SELECT id FROM users
    WHERE email_key = :key AND password_hash IS NOT NULL AND blocked_at IS NULL
      AND NOT EXISTS (
        SELECT 1 FROM account_tokens AS recent
        WHERE recent.user_id = users.id AND recent.purpose = 'reset_password'
          AND recent.used_at IS NULL
          AND recent.created_at > clock_timestamp() - make_interval(secs => :again))
), made AS (
    INSERT INTO account_tokens (id, user_id, purpose, token_hash, expires_at)
    SELECT :id, (SELECT id FROM known), 'reset_password', :token_hash,
           clock_timestamp() + make_interval(secs => :lasts)
    RETURNING user_id
)
INSERT INTO notification_outbox (reference, user_id, template, channel)
SELECT :id, user_id, 'reset_password', 'email' FROM made WHERE user_id IS NOT NULL
""")

MAIL_VERIFICATION = text("""
WITH made AS (
    INSERT INTO account_tokens (id, user_id, purpose, token_hash, expires_at)
    SELECT :id, users.id, 'verify_email', :token_hash,
           clock_timestamp() + make_interval(secs => :lasts)
    FROM users
    WHERE users.id = :user_id AND email_verified_at IS NULL AND erased_at IS NULL
      AND NOT EXISTS (
        SELECT 1 FROM account_tokens AS recent
        WHERE recent.user_id = users.id AND recent.purpose = 'verify_email'
          AND recent.used_at IS NULL
          AND recent.created_at > clock_timestamp() - make_interval(secs => :again))
    RETURNING user_id
)
INSERT INTO notification_outbox (reference, user_id, template, channel)
SELECT :id, user_id, 'verify_email', 'email' FROM made
""")


class PostgresPasswords:
    """See ``services.password.PasswordStore``."""

    def __init__(self, database: Database, tokens: OpaqueTokens) -> None:
        self._database = database
        self._tokens = tokens

    async def owner(self, user_id: UUID) -> Owner | None:
        async with self._database.statements() as session:
            return _owner(await session.one(OWNER, id=user_id))

    async def owner_of_token(self, token: str) -> Owner | None:
        async with self._database.statements() as session:
            return _owner(await session.one(OWNER_OF_TOKEN, token_hash=hashed(token)))

    async def change(
        self, owner: Owner, new_hash: str, *, but: UUID, request_id: str | None
    ) -> Sequence[UUID] | None:
        async with self._database.transaction() as session:
            values = {"id": owner.user_id, "old": owner.password_hash, "new": new_hash}
            if await session.change(CHANGE, **values) == 0:
                return None
            changed = EventType.PASSWORD_CHANGED
            return await _after(session, owner.user_id, changed, but=but, request_id=request_id)

    async def reset(
        self, token: str, new_hash: str, *, request_id: str | None
    ) -> Sequence[UUID] | None:
        async with self._database.transaction() as session:
            used = await session.one(USE, token_hash=hashed(token), purpose="reset_password")
            if used is None or not await session.change(SET_HASH, id=used.user_id, new=new_hash):
                return None
            changed = EventType.PASSWORD_RESET
            return await _after(session, used.user_id, changed, but=None, request_id=request_id)

    async def mail_reset(self, email_key: str) -> None:
        async with self._database.transaction() as session:
            session.later(HOLD_BY_KEY, key=email_key)
            await session.change(
                MAIL_RESET, key=email_key, again=MAIL_AGAIN_SECONDS, **self._new("reset_password")
            )

    async def mail_verification(self, user_id: UUID) -> None:
        async with self._database.transaction() as session:
            session.later(HOLD_BY_ID, user_id=user_id)
            await session.change(
                MAIL_VERIFICATION,
                user_id=user_id,
                again=MAIL_AGAIN_SECONDS,
                **self._new("verify_email"),
            )

    async def verify(self, token: str, *, request_id: str | None) -> bool:
        async with self._database.transaction() as session:
            used = await session.one(USE, token_hash=hashed(token), purpose="verify_email")
            if used is None:
                return False
            if await session.change(VERIFY, id=used.user_id):
                event = Event(EventType.EMAIL_VERIFIED, {})
                await append_next(
                    session, used.user_id, event, actor=str(used.user_id), request_id=request_id
                )
        return True

    def _new(self, purpose: str) -> dict[str, Any]:
        return new_token(self._tokens, purpose)


def new_token(tokens: OpaqueTokens, purpose: str) -> dict[str, Any]:
    """A row of ``account_tokens``: its id, the hash of what mail will carry, how long it lasts."""
    token_id = uuid4()
    token = tokens.mailed(token_id, purpose)
    return {"id": token_id, "token_hash": hashed(token), "lasts": MAILED_TOKEN_SECONDS}


async def _after(
    session: Session,
    user_id: UUID,
    changed: EventType,
    *,
    but: UUID | None,
    request_id: str | None,
) -> list[UUID]:
    """What follows from another password; the user's row is locked by its change."""
    session.later(USE_UP, user_id=user_id)
    account_mail.queue(session, user_id=user_id, template="password_changed", reference=uuid4())
    await append_next(
        session, user_id, Event(changed, {}), actor=str(user_id), request_id=request_id
    )
    return await end_all(session, user_id, reason="password", but=but)


def _owner(row: Any) -> Owner | None:
    return None if row is None else Owner(row.id, row.email, row.name, row.password_hash)
