"""What partners see: their endpoints, the deliveries of the last 30 days, the feed of events."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text

from domain.partner import TOLD, webhook_id
from infra.postgres.database import Session
from readmodel.bookings import Json
from readmodel.instants import stamp
from readmodel.pages import Place, page_of

ENDPOINT = """
id, url, description, event_types, state, disabled_reason, disabled_at, failing_since,
CASE WHEN previous_until > now() THEN previous_until END AS previous_secret_until,
version, created_at, updated_at
"""
ENDPOINTS = text(f"""
SELECT {ENDPOINT} FROM partner_endpoints WHERE owner_id = :owner_id ORDER BY created_at, id
""")  # noqa: S608  # nosec B608
ENDPOINT_BY_ID = text(f"""
SELECT {ENDPOINT} FROM partner_endpoints WHERE id = :id AND owner_id = :owner_id
""")  # noqa: S608  # nosec B608

# One walk along an index for each endpoint and state, so that a few failures are found among any
# number of successes.
DELIVERIES = text("""
SELECT found.*, event.type
FROM partner_endpoints AS endpoint
CROSS JOIN (VALUES ('pending'), ('delivered'), ('failed'), ('skipped')) AS wanted (state)
CROSS JOIN LATERAL (
    SELECT delivery.* FROM partner_deliveries AS delivery
    WHERE delivery.endpoint_id = endpoint.id AND delivery.state = wanted.state
      AND (created_at, id) < (coalesce(CAST(:before_at AS timestamptz), 'infinity'),
                              coalesce(CAST(:before_id AS uuid), CAST(repeat('f', 32) AS uuid)))
    ORDER BY created_at DESC, id DESC LIMIT 101
) AS found
JOIN partner_events AS event ON event.id = found.partner_event_id
WHERE endpoint.owner_id = :owner_id
  AND (CAST(:endpoint_id AS uuid) IS NULL OR endpoint.id = :endpoint_id)
  AND (CAST(:state AS text) IS NULL OR wanted.state = :state)
ORDER BY found.created_at DESC, found.id DESC LIMIT 101
""")
DELIVERY = text("""
SELECT delivery.*, event.type
FROM partner_deliveries AS delivery
JOIN partner_endpoints AS endpoint ON endpoint.id = endpoint_id
JOIN partner_events AS event ON event.id = partner_event_id
WHERE delivery.id = :id AND owner_id = :owner_id
""")
TRIES = text("""
SELECT number, started_at, extract(epoch FROM ended_at - started_at) * 1000 AS milliseconds,
       status, error
FROM partner_attempts WHERE delivery_id = :id ORDER BY number DESC LIMIT 100
""")

EVENTS = text("""
SELECT id, type, body FROM partner_events
WHERE id > :after AND only_for IS NULL
ORDER BY id LIMIT 101
""")

BACKLOG = text("""
SELECT count(*) AS pending,
       coalesce(extract(epoch FROM now() - min(due_since)), 0)::float8 AS oldest_seconds
FROM partner_deliveries WHERE state = 'pending'
""")
DISABLED = text("""
SELECT count(*) FILTER (WHERE state = 'disabled') AS disabled,
       count(*) FILTER (WHERE failing_since IS NOT NULL AND state = 'active') AS failing
FROM partner_endpoints
""")

BEHIND = text("""
SELECT coalesce(extract(epoch FROM now() - (
    SELECT created_at FROM events
    WHERE event_type = ANY(CAST(:told AS text[]))
      AND (xid, id) > (SELECT xid, event_id FROM partner_feed)
    ORDER BY xid, id LIMIT 1
)), 0)::float8 AS seconds
""")


async def endpoints(session: Session, owner_id: UUID) -> list[Json]:
    return [_endpoint(row) for row in await session.all(ENDPOINTS, owner_id=owner_id)]


async def endpoint(session: Session, owner_id: UUID, endpoint_id: UUID) -> Json | None:
    row = await session.one(ENDPOINT_BY_ID, id=endpoint_id, owner_id=owner_id)
    return _endpoint(row) if row is not None else None


async def deliveries(
    session: Session,
    owner_id: UUID,
    *,
    endpoint_id: UUID | None,
    state: str | None,
    before: Place | None,
    limit: int,
) -> tuple[list[Json], Place | None]:
    """One page, newest first, and the place to go on ``before``, if there is more."""
    before_at, before_id = before or (None, None)
    rows = await session.all(
        DELIVERIES,
        owner_id=owner_id,
        endpoint_id=endpoint_id,
        state=state,
        before_at=before_at,
        before_id=before_id,
    )
    return page_of(rows, limit, _delivery)


async def delivery(session: Session, owner_id: UUID, delivery_id: UUID) -> Json | None:
    """With its newest hundred tries."""
    row = await session.one(DELIVERY, id=delivery_id, owner_id=owner_id)
    if row is None:
        return None
    tries = await session.all(TRIES, id=delivery_id)
    return {**_delivery(row), "tries": [_try(one) for one in tries]}


async def events(session: Session, after: int, limit: int) -> tuple[list[Json], int | None]:
    """A page of the feed, oldest first, and the id to go on after, if there is more now."""
    rows = await session.all(EVENTS, after=after)
    page = rows[:limit]
    more = page[-1].id if len(rows) > limit else None
    return [{"id": webhook_id(row.id), **orjson.loads(row.body)} for row in page], more


async def backlog(session: Session) -> dict[str, float]:
    """What waits to be told, since when the oldest of it, and endpoints that take nothing."""
    waiting, stuck = await session.one(BACKLOG), await session.one(DISABLED)
    behind = await session.one(BEHIND, told=list(TOLD))
    assert behind is not None, "an expression has a row"
    assert waiting is not None, "an aggregate has a row"
    assert stuck is not None, "an aggregate has a row"
    return {
        "deliveries_pending": waiting.pending,
        "oldest_delivery_seconds": waiting.oldest_seconds,
        "endpoints_disabled": stuck.disabled,
        "endpoints_failing": stuck.failing,
        "feed_behind_seconds": behind.seconds,
    }


def _endpoint(row: Any) -> Json:
    return {
        "id": str(row.id),
        "url": row.url,
        "description": row.description,
        "event_types": row.event_types,
        "state": row.state,
        "disabled_reason": row.disabled_reason,
        "disabled_at": _stamp(row.disabled_at),
        "failing_since": _stamp(row.failing_since),
        "previous_secret_until": _stamp(row.previous_secret_until),
        "version": row.version,
        "created_at": stamp(row.created_at),
        "updated_at": stamp(row.updated_at),
    }


def _delivery(row: Any) -> Json:
    return {
        "id": str(row.id),
        "endpoint_id": str(row.endpoint_id),
        "event_id": webhook_id(row.partner_event_id),
        "type": row.type,
        "state": row.state,
        "reason": row.reason,
        "attempts": row.total_attempts,
        "next_attempt_at": _stamp(row.next_attempt_at),
        "created_at": stamp(row.created_at),
        "delivered_at": _stamp(row.delivered_at),
    }


def _try(row: Any) -> Json:
    return {
        "number": row.number,
        "started_at": stamp(row.started_at),
        "milliseconds": int(row.milliseconds),
        "status": row.status,
        "error": row.error,
    }


def _stamp(at: datetime | None) -> str | None:
    return stamp(at) if at is not None else None
