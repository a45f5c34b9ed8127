"""The markers and stored answers behind ``Idempotency-Key``, by the database's clock."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy import TextClause, text

from infra.postgres.database import Database

LEASE_SECONDS = 10
KEPT_SECONDS = 24 * 3600
MAX_LOOKS = 5

# The marker of a request that died is taken over by its repeat, but never by another body; after
# a day the key is as good as new.
TAKE = text("""
INSERT INTO idempotency_keys AS marker (user_id, route, key_hash, body_hash, owner, lease_until)
VALUES (:user_id, :route, :key_hash, :body_hash, :owner,
        clock_timestamp() + make_interval(secs => :lease))
ON CONFLICT (user_id, route, key_hash) DO UPDATE
SET body_hash = EXCLUDED.body_hash, owner = EXCLUDED.owner, lease_until = EXCLUDED.lease_until,
    created_at = clock_timestamp(), status = NULL, answer = NULL, content_type = NULL
WHERE marker.created_at < clock_timestamp() - make_interval(secs => :kept)
   OR (marker.status IS NULL AND marker.lease_until <= clock_timestamp()
       AND marker.body_hash = EXCLUDED.body_hash)
RETURNING xmax <> 0 AS seen
""")
LOOK = text("""
SELECT body_hash, status, answer, content_type FROM idempotency_keys
WHERE user_id = :user_id AND route = :route AND key_hash = :key_hash
""")

# The row of a request that gave up stays: it remembers the body that its key stands for.
LEASE = text("""
UPDATE idempotency_keys SET lease_until = clock_timestamp() + make_interval(secs => :lease)
WHERE user_id = :user_id AND route = :route AND key_hash = :key_hash
  AND owner = :owner AND status IS NULL
""")
STORE = text("""
UPDATE idempotency_keys SET status = :status, answer = :answer, content_type = :content_type
WHERE user_id = :user_id AND route = :route AND key_hash = :key_hash
  AND owner = :owner AND status IS NULL
""")


@dataclass(frozen=True, slots=True)
class Key:
    """What a client's key is good for: one user, one route, one body."""

    user_id: UUID
    route: str
    key_hash: bytes
    body_hash: bytes


@dataclass(frozen=True, slots=True)
class Mine:
    """The request is ours to run; ``owner`` tells us from whoever takes over after us.

    ``seen``: the key was used before, so something may be left of that.
    """

    key: Key
    owner: UUID
    seen: bool


@dataclass(frozen=True, slots=True)
class Answered:
    status: int
    body: bytes
    content_type: str | None


class InFlight:
    """Somebody is running it now."""


class OtherBody:
    """The key was used for another body."""


class PostgresIdempotency:
    """Each method is one statement and commits by itself."""

    def __init__(self, database: Database, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._database = database
        self.lease_seconds = lease_seconds

    async def take(self, key: Key) -> Mine | Answered | InFlight | OtherBody:
        owner = uuid4()
        place = {"user_id": key.user_id, "route": key.route, "key_hash": key.key_hash}
        asked = {
            **place,
            "body_hash": key.body_hash,
            "owner": owner,
            "lease": self.lease_seconds,
            "kept": KEPT_SECONDS,
        }
        async with self._database.statements() as session:
            for _ in range(MAX_LOOKS):
                if (mine := await session.one(TAKE, **asked)) is not None:
                    return Mine(key, owner, mine.seen)
                row = await session.one(LOOK, **place)
                if row is None:
                    # Swept away between the two statements.
                    continue
                if bytes(row.body_hash) != key.body_hash:
                    return OtherBody()
                if row.status is not None:
                    return Answered(row.status, bytes(row.answer), row.content_type)
                return InFlight()
        return InFlight()

    async def renew(self, mine: Mine) -> bool:
        """Lengthen the lease; False when it is somebody else's by now."""
        return await self._change(LEASE, mine, lease=self.lease_seconds)

    async def release(self, mine: Mine) -> None:
        """Let a repeat with the same body run again at once."""
        await self._change(LEASE, mine, lease=0)

    async def store(self, mine: Mine, answer: Answered) -> None:
        await self._change(
            STORE,
            mine,
            status=answer.status,
            answer=answer.body,
            content_type=answer.content_type,
        )

    async def _change(self, statement: TextClause, mine: Mine, **values: object) -> bool:
        key = mine.key
        place = {"user_id": key.user_id, "route": key.route, "key_hash": key.key_hash}
        async with self._database.statements() as session:
            return await session.change(statement, **place, owner=mine.owner, **values) == 1
