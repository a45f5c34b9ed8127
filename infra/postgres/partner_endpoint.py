"""Endpoints of partners. Who is owed what changes under one lock, shared with the feed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain.errors import Conflict
from domain.partner import MAX_REPLAY_WINDOWS, TEST_EVENT, body_of, choice
from infra.postgres.audit import PostgresAudit
from infra.postgres.database import Database, Session
from infra.postgres.partner_access import SKIP
from infra.postgres.partner_feed import OWED_LOCK
from infra.sealing import SealRing, Unopenable
from services.partner import Endpoint, Owner, Replayed, Wish, place_of

ADD = text("""
INSERT INTO partner_endpoints (id, owner_id, url, description, event_types, secret)
SELECT :id, :owner_id, :url, :description, CAST(:event_types AS text[]), :secret
WHERE (SELECT count(*) FROM partner_endpoints WHERE owner_id = :owner_id) < :most
""")
FIND = text("""
SELECT id, url, description, event_types, state, version FROM partner_endpoints
WHERE id = :id AND owner_id = :owner_id
""")
CHANGE = text("""
UPDATE partner_endpoints AS endpoint
SET url = coalesce(:url, url), description = coalesce(:description, description),
    event_types = coalesce(CAST(:event_types AS text[]), event_types),
    types_since = CASE WHEN CAST(:event_types AS text[]) IS NULL THEN types_since
                  ELSE clock_timestamp() END,
    state = :state,
    disabled_at = CASE WHEN :state = 'disabled' THEN coalesce(disabled_at, clock_timestamp()) END,
    disabled_reason = CASE WHEN :state = 'disabled' THEN coalesce(disabled_reason, 'owner') END,
    failing_since = CASE WHEN :fresh THEN NULL ELSE failing_since END,
    version = version + 1, updated_at = clock_timestamp()
WHERE id = :id
""")
ROTATE = text("""
UPDATE partner_endpoints
SET previous_secret = secret, secret = :secret,
    previous_until = clock_timestamp() + make_interval(secs => :overlap),
    version = version + 1, updated_at = clock_timestamp()
WHERE id = :id AND owner_id = :owner_id
""")
REMOVE = text("DELETE FROM partner_endpoints WHERE id = :id AND owner_id = :owner_id")

# Held against a rotation meanwhile. What is sealed is the same, so nobody's version moves.
SEALED = text("""
SELECT id, secret, previous_secret FROM partner_endpoints WHERE id > :after
ORDER BY id LIMIT 200 FOR UPDATE
""")
RESEAL = text("""
UPDATE partner_endpoints SET secret = :secret, previous_secret = :previous WHERE id = :id
""")

TELL_ONE = text("""
WITH told AS (
    INSERT INTO partner_events (only_for, type, body) VALUES (:endpoint_id, :type, :body)
    RETURNING id
)
INSERT INTO partner_deliveries (endpoint_id, partner_event_id)
SELECT :endpoint_id, id FROM told RETURNING id
""")
NOW = text("SELECT clock_timestamp() AS now")

# One that is being sent is left alone: it is tried as it is, and two must never send it at once.
REPLAY = text("""
UPDATE partner_deliveries AS delivery
SET state = 'pending', reason = NULL, attempts = 0, due_since = now(), next_attempt_at = now(),
    sending = false
FROM partner_endpoints AS endpoint
WHERE delivery.id = :id AND endpoint.id = endpoint_id AND owner_id = :owner_id
  AND (NOT sending OR next_attempt_at <= now())
""")
OF_DELIVERY = text("""
SELECT endpoint.state FROM partner_deliveries AS delivery
JOIN partner_endpoints AS endpoint ON endpoint.id = endpoint_id
WHERE delivery.id = :id AND owner_id = :owner_id
""")
FIRST_SINCE = text("""
SELECT id FROM partner_events WHERE projected_at >= :since ORDER BY projected_at, id LIMIT 1
""")
# A window of the feed at a time; with rows for what was never owed to this endpoint before.
REPLAY_WINDOW = text("""
WITH seen AS MATERIALIZED (
    SELECT id, type, only_for, projected_at FROM partner_events WHERE id >= :first
    ORDER BY id LIMIT 1001
), chosen AS (
    SELECT id, type, only_for FROM seen ORDER BY id LIMIT 1000
), queued AS (
    INSERT INTO partner_deliveries AS delivery (endpoint_id, partner_event_id)
    SELECT :endpoint_id, id FROM chosen
    WHERE only_for IS NULL AND type = ANY (CAST(:event_types AS text[])) ORDER BY id
    ON CONFLICT (endpoint_id, partner_event_id) DO UPDATE
    SET state = 'pending', reason = NULL, attempts = 0, due_since = now(), sending = false,
        next_attempt_at = now()
    WHERE NOT delivery.sending OR delivery.next_attempt_at <= now()
    RETURNING 1
)
SELECT (SELECT count(*) FROM queued) AS queued, next.id AS next_id, next.projected_at AS next_at
FROM (SELECT 1) AS one LEFT JOIN (SELECT * FROM seen ORDER BY id OFFSET 1000) AS next ON true
""")


@dataclass(frozen=True, slots=True)
class Resealed:
    """``last``: where the next page begins; None when there is none."""

    sealed: int
    unopenable: list[UUID]
    last: UUID | None


async def reseal_page(database: Database, ring: SealRing, after: UUID) -> Resealed:
    """Seal by the ring's first key what others sealed of the endpoints behind ``after``."""
    sealed = 0
    unopenable: list[UUID] = []
    async with database.transaction() as session:
        rows = await session.all(SEALED, after=after)
        for row in rows:
            place, secrets = place_of(row.id), (row.secret, row.previous_secret)
            was = [None if one is None else bytes(one) for one in secrets]
            try:
                now = [None if one is None else ring.resealed(one, place) for one in was]
            except Unopenable:
                unopenable.append(row.id)
                continue
            sealed += sum(old != new for old, new in zip(was, now, strict=True))
            if now != was:
                session.later(RESEAL, id=row.id, secret=now[0], previous=now[1])
    return Resealed(sealed, unopenable, rows[-1].id if rows else None)


class PostgresEndpoints:
    """See ``services.partner.EndpointStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, owner: Owner, new: Endpoint, secret: bytes, *, most: int) -> bool:
        async with self._database.transaction() as session:
            await session.one(OWED_LOCK)
            added = await session.change(
                ADD,
                id=new.id,
                owner_id=owner.id,
                url=new.url,
                description=new.description,
                event_types=list(new.event_types),
                secret=secret,
                most=most,
            )
            if added:
                told = {"event_types": list(new.event_types)}
                _note(session, owner, "partner_endpoint.created", new.id, told)
        return added == 1

    async def change(
        self, owner: Owner, endpoint_id: UUID, versions: frozenset[int] | None, wish: Wish
    ) -> bool | None:
        async with self._database.transaction() as session:
            await session.one(OWED_LOCK)
            row = await session.one(FIND, id=endpoint_id, owner_id=owner.id)
            if row is None:
                return None
            if versions is not None and row.version not in versions:
                return False
            state = row.state
            if wish.enabled is not None:
                state = "active" if wish.enabled else "disabled"
            values = {
                "url": wish.url,
                "description": wish.description,
                "event_types": choice(wish.event_types) if wish.event_types is not None else None,
            }
            fresh = wish.enabled is True or wish.url is not None
            await session.change(CHANGE, id=endpoint_id, state=state, fresh=fresh, **values)
            if state == "disabled":
                session.later(SKIP, id=endpoint_id)
            # A URL may carry a token of the partner's: that it changed is enough.
            told = {name for name, value in values.items() if value is not None}
            _note(
                session,
                owner,
                "partner_endpoint.changed",
                endpoint_id,
                {"fields": sorted(told), "state": state},
            )
        return True

    async def rotate(
        self, owner: Owner, endpoint_id: UUID, secret: bytes, *, overlap_seconds: int
    ) -> bool:
        async with self._database.transaction() as session:
            changed = await session.change(
                ROTATE, id=endpoint_id, owner_id=owner.id, secret=secret, overlap=overlap_seconds
            )
            if changed:
                _note(session, owner, "partner_endpoint.rotated", endpoint_id, {})
        return changed == 1

    async def remove(self, owner: Owner, endpoint_id: UUID) -> bool:
        async with self._database.transaction() as session:
            await session.one(OWED_LOCK)
            changed = await session.change(REMOVE, id=endpoint_id, owner_id=owner.id)
            if changed:
                _note(session, owner, "partner_endpoint.deleted", endpoint_id, {})
        return changed == 1

    async def send_test(self, owner: Owner, endpoint_id: UUID) -> UUID | None:
        async with self._database.transaction() as session:
            await session.one(OWED_LOCK)
            row = await session.one(FIND, id=endpoint_id, owner_id=owner.id)
            if row is None:
                return None
            _require_active(row.state)
            now = await session.one(NOW)
            assert now is not None
            told = await session.one(
                TELL_ONE,
                endpoint_id=endpoint_id,
                type=TEST_EVENT,
                body=body_of(TEST_EVENT, now.now, {"endpoint_id": str(endpoint_id)}),
            )
            assert told is not None
            delivery_id: UUID = told.id
        return delivery_id

    async def replay(self, owner: Owner, delivery_id: UUID) -> bool:
        async with self._database.transaction() as session:
            await session.one(OWED_LOCK)
            row = await session.one(OF_DELIVERY, id=delivery_id, owner_id=owner.id)
            if row is None:
                return False
            _require_active(row.state)
            await session.change(REPLAY, id=delivery_id, owner_id=owner.id)
        return True

    async def replay_since(
        self, owner: Owner, endpoint_id: UUID, since: datetime
    ) -> Replayed | None:
        async with self._database.transaction() as session:
            await session.one(OWED_LOCK)
            row = await session.one(FIND, id=endpoint_id, owner_id=owner.id)
            if row is None:
                return None
            _require_active(row.state)
            replayed = await _replay(session, endpoint_id, row.event_types, since)
            told = {"since": since.isoformat(), "count": replayed.count}
            _note(session, owner, "partner_endpoint.replayed", endpoint_id, told)
        return replayed


async def _replay(
    session: Session, endpoint_id: UUID, event_types: list[str], since: datetime
) -> Replayed:
    found = await session.one(FIRST_SINCE, since=since)
    first, more_from, count = found.id if found else None, None, 0
    for _ in range(MAX_REPLAY_WINDOWS):
        if first is None:
            break
        window = await session.one(
            REPLAY_WINDOW, endpoint_id=endpoint_id, event_types=event_types, first=first
        )
        assert window is not None, "it always has a row"
        count += window.queued
        first, more_from = window.next_id, window.next_at
    return Replayed(count, more_from)


def _require_active(state: str) -> None:
    if state != "active":
        raise Conflict(
            "The endpoint is disabled: enable it first.",
            code="endpoint_disabled",
        )


def _note(
    session: Session, owner: Owner, action: str, endpoint_id: UUID, details: Mapping[str, Any]
) -> None:
    PostgresAudit(session).note(
        action,
        target=f"partner_endpoint:{endpoint_id}",
        actor=owner.actor,
        details=details or None,
        request_id=owner.request_id,
    )
