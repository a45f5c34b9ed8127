"""Sessions: one row each, with the hash of its newest refresh token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain.user import Choices, Role, User
from infra.opaque_tokens import hashed
from infra.postgres.audit import PostgresAudit
from infra.postgres.database import Database, Session
from services.session import NewSession, Renewed

# What makes an account another (password, role, block, second factor) holds its row, and then ends
# its sessions. Whoever waited for the row reads what was committed by a statement of its own: of
# another table's rows, one that locks and reads at once would see those of before it waited. So no
# session outlives a change that opens with what was before it. Log-ins of one account at the
# same moment do not see each other, so there may be as many more until the next one.
HOLD_ACCOUNT = text("SELECT 1 FROM users WHERE id = :user_id FOR SHARE")
OPEN = text("""
WITH account AS MATERIALIZED (
    SELECT id, role FROM users
    WHERE id = :user_id AND password_hash = :password_hash AND role = :role AND blocked_at IS NULL
      AND :has_factor = EXISTS (SELECT 1 FROM second_factors AS factor
                                WHERE factor.user_id = users.id AND confirmed_at IS NOT NULL)
), opened AS (
    INSERT INTO sessions (id, user_id, token_hash, client, second_factor_at, idle_expires_at,
                          expires_at)
    SELECT :id, id, :token_hash, :client, CASE WHEN :second_factor THEN clock_timestamp() END,
           clock_timestamp() + make_interval(secs => :idle),
           clock_timestamp() + make_interval(secs => :lasts)
    FROM account
    RETURNING id
), surplus AS (
    UPDATE sessions SET ended_at = clock_timestamp(), end_reason = 'surplus'
    WHERE EXISTS (SELECT FROM opened) AND ended_at IS NULL AND id = ANY (ARRAY(
        SELECT id FROM sessions
        WHERE user_id = :user_id AND ended_at IS NULL
          AND least(expires_at, idle_expires_at) > clock_timestamp()
        ORDER BY created_at DESC, id DESC OFFSET :others
    ))
), noted AS (
    INSERT INTO audit_log (actor, role, action, target, details, request_id)
    SELECT account.id::text, role, 'session.open', 'session:' || opened.id,
           jsonb_build_object('second_factor', CAST(:second_factor AS boolean)), :request_id
    FROM account, opened
    WHERE role <> 'user'
)
SELECT id FROM opened
""")
MOST_SESSIONS = 50

ROTATE = text("""
WITH rotated AS (
    UPDATE sessions SET token_hash = :successor_hash, refreshed_at = clock_timestamp(),
        idle_expires_at = least(expires_at, clock_timestamp() + make_interval(secs => :idle))
    WHERE id = :id AND token_hash = :token_hash AND ended_at IS NULL
      AND expires_at > clock_timestamp() AND idle_expires_at > clock_timestamp()
    RETURNING user_id, second_factor_at, expires_at
)
SELECT users.*, rotated.second_factor_at IS NOT NULL AS strong,
       ceil(extract(epoch FROM rotated.expires_at - clock_timestamp()))::int AS seconds_left,
       EXISTS (SELECT 1 FROM second_factors AS factor
               WHERE factor.user_id = users.id AND confirmed_at IS NOT NULL) AS second_factor
FROM rotated JOIN users ON users.id = rotated.user_id
""")

# Sealed by us and not the newest: it was replaced, and somebody kept it.
END_REUSED = text("""
UPDATE sessions SET ended_at = clock_timestamp(), end_reason = 'reuse'
WHERE id = :id AND ended_at IS NULL AND token_hash <> :token_hash
RETURNING user_id
""")

END = text("""
UPDATE sessions SET ended_at = clock_timestamp(), end_reason = :reason
WHERE id = :id AND ended_at IS NULL
  AND (CAST(:user_id AS uuid) IS NULL OR user_id = :user_id)
RETURNING id
""")

END_ALL = text("""
UPDATE sessions SET ended_at = clock_timestamp(), end_reason = :reason
WHERE user_id = :user_id AND ended_at IS NULL
  AND (CAST(:but AS uuid) IS NULL OR id <> :but)
RETURNING id
""")

# What ended within :seconds, or since shortly before the newest end that is known already: a
# transaction may take that long from the statement that ends a session to its commit. An end that
# lies ahead is of another server's clock, before a failover, and says nothing of what is known.
ENDED = text("""
SELECT id, ended_at FROM sessions
WHERE ended_at > greatest(now() - make_interval(secs => :seconds),
                          CASE WHEN CAST(:newest AS timestamptz) <= now()
                               THEN CAST(:newest AS timestamptz) - make_interval(secs => :overlap)
                          END)
ORDER BY ended_at DESC LIMIT :limit
""")

IS_LIVE = text("SELECT 1 FROM sessions WHERE id = :id AND ended_at IS NULL")


class PostgresSessions:
    """See ``services.session.SessionStore``; how long a session lives, and how long unused."""

    def __init__(self, database: Database, *, idle_seconds: int, seconds: int) -> None:
        self._database = database
        self._idle = min(idle_seconds, seconds)
        self._lasts = seconds

    async def open(
        self, user: User, new: NewSession, *, password_hash: str, request_id: str | None
    ) -> bool:
        async with self._database.transaction() as session:
            session.later(HOLD_ACCOUNT, user_id=user.id)
            opened = await session.one(
                OPEN,
                id=new.id,
                user_id=user.id,
                role=user.role,
                has_factor=user.second_factor,
                token_hash=hashed(new.refresh_token),
                client=new.client,
                second_factor=new.second_factor,
                password_hash=password_hash,
                idle=self._idle,
                lasts=self._lasts,
                others=MOST_SESSIONS - 1,
                request_id=request_id,
            )
        return opened is not None

    async def rotate(self, session_id: UUID, token: str, successor: str) -> Renewed | None:
        token_hash = hashed(token)
        async with self._database.statements() as session:
            row = await session.one(
                ROTATE,
                id=session_id,
                token_hash=token_hash,
                successor_hash=hashed(successor),
                idle=self._idle,
            )
            if row is not None:
                return Renewed(as_user(row), row.strong, row.seconds_left)
            reused = await session.one(END_REUSED, id=session_id, token_hash=token_hash)
            if reused is not None:
                PostgresAudit(session).note(
                    "session.reuse", target=f"session:{session_id}", actor=str(reused.user_id)
                )
        return None

    async def end(
        self, session_id: UUID, *, reason: str, user_id: UUID | None = None
    ) -> UUID | None:
        async with self._database.statements() as session:
            row = await session.one(END, id=session_id, user_id=user_id, reason=reason)
        return None if row is None else session_id

    async def end_all(
        self, user_id: UUID, *, reason: str, but: UUID | None = None
    ) -> Sequence[UUID]:
        async with self._database.statements() as session:
            return await end_all(session, user_id, reason=reason, but=but)


async def end_all(
    session: Session, user_id: UUID, *, reason: str, but: UUID | None = None
) -> list[UUID]:
    """End a user's sessions in the caller's transaction, as its last statement.

    After the commit every process refuses them within a second, and at once where the ids are
    announced. What makes the user another (password, role, block) is to be written before, by a
    statement of its own that locks the user's row.
    """
    rows = await session.all(END_ALL, user_id=user_id, reason=reason, but=but)
    return [row.id for row in rows]


def as_user(row: Any) -> User:
    """A row of ``users``, with ``second_factor`` beside it."""
    return User(
        id=row.id,
        email=row.email or "",
        name=row.name,
        phone=row.phone,
        role=Role(row.role),
        created_at=row.created_at,
        email_verified=row.email_verified_at is not None,
        locale=row.locale,
        notifications=Choices(email=row.notify_email, sms=row.notify_sms),
        second_factor=row.second_factor,
    )
