"""The feed of what partners are told, read off the event store below its transaction horizon.

An event with a lower id may be committed after one with a higher id. So events are read in the
order (transaction, id), and only of transactions older than every one that is still running:
nothing can appear before the place that was reached.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from domain.partner import KEPT_SECONDS, TOLD, Fact, body_of, told_of
from infra.postgres.database import Database, Session
from infra.postgres.partner_access import disable_unhearing

# Whoever changes which endpoint is owed what, or writes what is owed, has this lock.
OWED_LOCK = text("SELECT pg_advisory_xact_lock(5201100001)")
TRY_OWED_LOCK = text("SELECT pg_try_advisory_xact_lock(5201100001) AS mine")

# Reads along `events_place_idx` and passes over what nobody is told: a few events of each booking.
# An index of the told ones alone would be one more to write with every event.
NEXT = text("""
SELECT events.id, event_type, CAST(aggregate_id AS text) AS aggregate_id,
       payload ->> 'refund_id' AS refund_id,
       events.created_at, CAST(bookings.show_id AS text) AS show_id
FROM events LEFT JOIN bookings ON bookings.id = aggregate_id
WHERE event_type = ANY(CAST(:told AS text[]))
  AND (xid, events.id) > (SELECT xid, event_id FROM partner_feed)
  AND xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY xid, events.id LIMIT 500
""")
# What is older than the log is not told again, should the store be read from its beginning.
TELL = text("""
WITH told AS (
    INSERT INTO partner_events (event_id, type, body)
    SELECT event_id, type, body
    FROM unnest(CAST(:ids AS bigint[]), CAST(:types AS text[]), CAST(:bodies AS text[]),
                CAST(:times AS timestamptz[]))
         WITH ORDINALITY AS read (event_id, type, body, created_at, place)
    WHERE created_at > now() - make_interval(secs => :kept)
    ORDER BY place
    ON CONFLICT (event_id) DO NOTHING
    RETURNING id, type
)
INSERT INTO partner_deliveries (endpoint_id, partner_event_id, state, reason, next_attempt_at)
SELECT endpoint.id, told.id,
       CASE endpoint.state WHEN 'active' THEN 'pending' ELSE 'skipped' END,
       CASE endpoint.state WHEN 'active' THEN NULL ELSE 'endpoint_disabled' END,
       CASE endpoint.state WHEN 'active' THEN now() END
FROM told JOIN partner_endpoints AS endpoint ON told.type = ANY(endpoint.event_types)
ORDER BY told.id
""")
MOVE = text("""
UPDATE partner_feed SET xid = events.xid, event_id = events.id
FROM events WHERE events.id = :id
""")

SWEEP = text("""
DELETE FROM partner_events WHERE id = ANY (ARRAY(
    SELECT id FROM partner_events WHERE projected_at < now() - make_interval(secs => :kept)
    ORDER BY projected_at LIMIT 1000
))
""")

# A retired secret signs nothing any more: then no key has to be kept for it either.
FORGET_RETIRED = text("""
UPDATE partner_endpoints SET previous_secret = NULL, previous_until = NULL
WHERE previous_until < now() - interval '1 minute'
""")


class PostgresPartnerFeed:
    """See ``services.partner_delivery.PartnerFeed``. Of any number, one is at work."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def project(self) -> int:
        async with self._database.transaction() as session:
            lock = await session.one(TRY_OWED_LOCK)
            if lock is None or not lock.mine:
                return 0
            await disable_unhearing(session)
            rows = await session.all(NEXT, told=list(TOLD))
            if rows:
                await _tell(session, rows)
        return len(rows)

    async def sweep(self) -> int:
        async with self._database.statements() as session:
            await session.change(FORGET_RETIRED)
            return await session.change(SWEEP, kept=KEPT_SECONDS)


async def _tell(session: Session, rows: list[Any]) -> None:
    types = [TOLD[row.event_type] for row in rows]
    session.later(
        TELL,
        ids=[row.id for row in rows],
        types=[type_.value for type_ in types],
        bodies=[
            body_of(type_, row.created_at, told_of(_fact(row)))
            for row, type_ in zip(rows, types, strict=True)
        ],
        times=[row.created_at for row in rows],
        kept=KEPT_SECONDS,
    )
    await session.change(MOVE, id=rows[-1].id)


def _fact(row: Any) -> Fact:
    return Fact(row.event_type, row.aggregate_id, row.show_id, row.refund_id)
