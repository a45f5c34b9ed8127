"""How far behind the events each projection is."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text

from infra.postgres.database import Session

# Counting stops at 1,000, where it would read long: by then the number says enough.
STATUS = text("""
SELECT name, generation, state, xid::text AS xid, event_id, waiting.events,
       coalesce(extract(epoch FROM clock_timestamp() - oldest.created_at), 0)::float8 AS seconds
FROM projections
LEFT JOIN LATERAL (
    SELECT created_at FROM events
    WHERE (events.xid, events.id) > (projections.xid, projections.event_id)
    ORDER BY events.xid, events.id LIMIT 1
) AS oldest ON true
CROSS JOIN LATERAL (
    SELECT count(*) AS events FROM (
        SELECT 1 FROM events
        WHERE (events.xid, events.id) > (projections.xid, projections.event_id)
        ORDER BY events.xid, events.id LIMIT 1000
    ) AS counted
) AS waiting
ORDER BY name, generation
""")


@dataclass(frozen=True, slots=True)
class Status:
    """``seconds``: the age of the oldest event that is not in it; 0 when there is none.

    ``events`` are those not in it, counted up to 1,000.
    """

    name: str
    generation: int
    state: str
    xid: int
    event_id: int
    events: int
    seconds: float


async def status(session: Session) -> list[Status]:
    """Every generation by name; one that is ``building`` belongs to a rebuild."""
    return [
        Status(
            row.name,
            row.generation,
            row.state,
            int(row.xid),
            row.event_id,
            row.events,
            max(0.0, row.seconds),
        )
        for row in await session.all(STATUS)
    ]
