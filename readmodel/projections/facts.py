"""The events in an order in which none is ever skipped, and what is known of their bookings.

``events.id`` is given out before a transaction commits, so a lower id may appear after a higher
one was read. Read are only events below the horizon of running transactions: nothing can appear
there any more. Within it they are ordered by (xid, id).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from domain.history import Fact, History, histories
from domain.upcasters import upcast
from infra.postgres.database import Session

# The inner limit is one that the planner knows.
AFTER = text("""
SELECT CAST(xid::text AS bigint) AS xid, id, aggregate_id, sequence, event_type, schema_version,
       payload, created_at
FROM (
    SELECT * FROM events
    WHERE (xid, id) > (CAST(CAST(CAST(:xid AS bigint) AS text) AS xid8), CAST(:id AS bigint))
      AND xid < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY xid, id LIMIT 1000
) AS next
ORDER BY next.xid, id LIMIT :limit
""")
STREAMS = text("""
SELECT CAST(xid::text AS bigint) AS xid, id, aggregate_id, sequence, event_type, schema_version,
       payload, created_at
FROM events
WHERE aggregate_id = ANY(CAST(:ids AS uuid[]))
  AND (xid, id) <= (CAST(CAST(CAST(:xid AS bigint) AS text) AS xid8), CAST(:id AS bigint))
ORDER BY aggregate_id, sequence
""")
# As a show was at an instant: only what moves its seats, of all its bookings.
OF_SHOW = text("""
SELECT CAST(xid::text AS bigint) AS xid, events.id, aggregate_id, events.sequence, event_type,
       schema_version, payload, events.created_at
FROM bookings JOIN events ON aggregate_id = bookings.id
WHERE show_id = :show_id AND events.created_at <= :at AND bookings.created_at <= :at
ORDER BY aggregate_id, events.sequence
""")


class Place(NamedTuple):
    """After which event a projection goes on; as tuples compare, so do places."""

    xid: int
    id: int


@dataclass(frozen=True)
class Batch:
    """New facts in order, and the bookings they tell of: as known before, and with them."""

    facts: Sequence[Fact]
    before: dict[UUID, History]
    after: dict[UUID, History]

    @property
    def end(self) -> Place:
        return Place(self.facts[-1].xid, self.facts[-1].id)


async def read_batch(session: Session, place: Place, limit: int) -> Batch | None:
    """The next at most ``limit`` facts, and 1,000 at most; None when there is nothing new.

    Raises:
        FromTheFuture: an event was written by a newer release than this.
    """
    facts = [_fact(row) for row in await session.all(AFTER, **place._asdict(), limit=limit)]
    if not facts:
        return None
    end = Place(facts[-1].xid, facts[-1].id)
    ids = list({fact.aggregate_id for fact in facts})
    known = [_fact(row) for row in await session.all(STREAMS, ids=ids, **end._asdict())]
    before = [fact for fact in known if (fact.xid, fact.id) <= place]
    return Batch(facts, histories(before), histories(known))


async def of_show(session: Session, show_id: UUID, at: Any) -> list[Fact]:
    """What had happened to the bookings of a show by ``at``, booking by booking."""
    return [_fact(row) for row in await session.all(OF_SHOW, show_id=show_id, at=at)]


def _fact(row: Any) -> Fact:
    return Fact(
        xid=row.xid,
        id=row.id,
        aggregate_id=row.aggregate_id,
        sequence=row.sequence,
        type=row.event_type,
        payload=upcast(row.event_type, row.schema_version, row.payload),
        at=row.created_at,
    )
