"""Deliveries to partners: taken under leases, fairly among endpoints; each try is logged."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain.partner import webhook_id
from infra.postgres.database import Database
from infra.postgres.partner_access import HEARS, disable
from infra.postgres.partner_feed import OWED_LOCK
from services.partner_delivery import Outcome, Taken, Tried

# What is long due comes first, but no endpoint gets more than its share of the slots, and one
# that takes nothing gets one.
TAKE = text(f"""
WITH due AS (
    SELECT found.id
    FROM partner_endpoints AS endpoint
    LEFT JOIN unnest(CAST(:busy_ids AS uuid[]), CAST(:busy_counts AS integer[]))
        AS busy (id, count) ON busy.id = endpoint.id
    CROSS JOIN LATERAL (
        SELECT id, next_attempt_at FROM partner_deliveries
        WHERE endpoint_id = endpoint.id AND state = 'pending' AND next_attempt_at <= now()
        ORDER BY next_attempt_at
        LIMIT greatest(CASE WHEN endpoint.failing_since IS NULL THEN :share ELSE 1 END
                       - coalesce(busy.count, 0), 0)
        FOR UPDATE SKIP LOCKED
    ) AS found
    WHERE endpoint.state = 'active' AND {HEARS}
    ORDER BY found.next_attempt_at LIMIT :limit
)
UPDATE partner_deliveries AS delivery
SET attempts = attempts + 1, total_attempts = total_attempts + 1, sending = true,
    next_attempt_at = now() + make_interval(secs => :lease)
FROM partner_endpoints AS endpoint, partner_events AS event
WHERE delivery.id = ANY (ARRAY(SELECT id FROM due))
  AND endpoint.id = delivery.endpoint_id AND event.id = delivery.partner_event_id
RETURNING delivery.id, endpoint_id, total_attempts, attempts, url, secret,
    CASE WHEN previous_until > now() THEN previous_secret END AS previous_secret,
    event.id AS event_id, body,
    extract(epoch FROM now() - due_since)::float8 AS age_seconds,
    extract(epoch FROM now() - failing_since)::float8 AS failing_seconds
""")  # noqa: S608  # nosec B608

# Endpoints are locked before their deliveries, here and in partner_endpoint.py.
TOOK = text("""
UPDATE partner_endpoints SET failing_since = NULL
WHERE id = :id AND failing_since IS NOT NULL
""")
FAILED = text("""
UPDATE partner_endpoints SET failing_since = clock_timestamp()
WHERE id = :id AND failing_since IS NULL
""")
# The number is the fence: whoever took it after us has a higher one.
RECORD = text("""
UPDATE partner_deliveries
SET state = :state, reason = :reason, sending = false,
    delivered_at = CASE WHEN :state = 'delivered' THEN clock_timestamp() ELSE delivered_at END,
    next_attempt_at = now() + make_interval(secs => :wait_seconds)
WHERE id = :id AND total_attempts = :number AND state = 'pending'
""")
LOG = text("""
INSERT INTO partner_attempts (delivery_id, number, started_at, status, error, body_hash)
SELECT id, :number, clock_timestamp() - make_interval(secs => :seconds), :status, :error, :hash
FROM partner_deliveries WHERE id = :id
ON CONFLICT (delivery_id, number) DO NOTHING
""")


class PostgresDeliveryQueue:
    """See ``services.partner_delivery.DeliveryQueue``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(
        self, limit: int, *, busy: Mapping[UUID, int], per_endpoint: int, lease_seconds: float
    ) -> Sequence[Taken]:
        async with self._database.statements() as session:
            rows = await session.all(
                TAKE,
                busy_ids=list(busy),
                busy_counts=list(busy.values()),
                share=per_endpoint,
                limit=limit,
                lease=lease_seconds,
            )
        return [_taken(row) for row in rows]

    async def record(self, taken: Taken, tried: Tried, outcome: Outcome, *, seconds: float) -> bool:
        async with self._database.transaction() as session:
            if outcome.disable is not None:
                await session.one(OWED_LOCK)
            session.later(TOOK if tried.is_success else FAILED, id=taken.endpoint_id)
            recorded = await session.change(
                RECORD,
                id=taken.id,
                number=taken.number,
                state=outcome.state.value,
                reason=outcome.reason,
                wait_seconds=outcome.wait_seconds,
            )
            session.later(
                LOG,
                id=taken.id,
                number=taken.number,
                seconds=seconds,
                status=tried.status,
                error=tried.error,
                hash=hashlib.sha256(taken.body.encode()).digest(),
            )
            if outcome.disable is not None:
                await disable(session, taken.endpoint_id, outcome.disable)
        return recorded == 1


def _taken(row: Any) -> Taken:
    return Taken(
        id=row.id,
        endpoint_id=row.endpoint_id,
        number=row.total_attempts,
        attempts=row.attempts,
        age_seconds=row.age_seconds,
        failing_seconds=row.failing_seconds,
        url=row.url,
        secrets=tuple(bytes(one) for one in (row.secret, row.previous_secret) if one is not None),
        webhook_id=webhook_id(row.event_id),
        body=row.body,
    )
