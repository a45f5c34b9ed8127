"""Seat claims: the statement here decides who has a seat; everything else only asks sooner."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from domain.limits import PRECLAIM_LEASE_SECONDS
from infra.postgres.database import Session, UnexpectedCount
from services.ports import Claimed, Taken
from services.preclaim import ActiveClaim

# Inserted in label order, so that two holds on the same seats wait for one another, never in a
# circle. Only a free row is updated; the unique index makes "no row" and "free row" one case.
CLAIM = text("""
INSERT INTO seat_claims AS claim (show_id, label, state, booking_id)
SELECT :show_id, label, 'held', :booking_id
FROM unnest(CAST(:labels AS text[])) AS asked (label) ORDER BY label
ON CONFLICT (show_id, label) DO UPDATE
SET state = 'held', booking_id = excluded.booking_id, fence = claim.fence + 1,
    updated_at = clock_timestamp()
WHERE claim.state = 'free'
RETURNING label, fence
""")

# Locks what is there and changes nothing; makes what is not, for a row that is not there yet
# cannot be locked.
LINE_UP = text("""
INSERT INTO seat_claims AS claim (show_id, label, state)
SELECT :show_id, label, 'free'
FROM unnest(CAST(:labels AS text[])) AS asked (label) ORDER BY label
ON CONFLICT (show_id, label) DO UPDATE SET state = claim.state WHERE false
""")

# A hold that the clock alone may end is judged by the clock; any other stands until it is freed.
ACTIVE = text("""
SELECT claim.label, claim.booking_id, claim.state,
       ceil(extract(epoch FROM hold_max_expires_at - clock_timestamp()))::int AS ttl
FROM seat_claims AS claim LEFT JOIN bookings ON bookings.id = claim.booking_id
WHERE claim.show_id = :show_id AND claim.state <> 'free'
  AND (CAST(:labels AS text[]) IS NULL OR claim.label = ANY(CAST(:labels AS text[])))
  AND NOT (claim.state = 'held' AND lapses AND hold_expires_at <= clock_timestamp())
""")

# A claim locks the rows it meets in label order, even those it may not take; so must these two.
# Fewer claims than must be sold are a division by zero: a commit may travel with it all the same.
SELL = text("""
WITH mine AS MATERIALIZED (
    SELECT show_id, label FROM seat_claims WHERE booking_id = :booking_id AND state = 'held'
    ORDER BY show_id, label FOR UPDATE
), sold AS (
    UPDATE seat_claims AS claim SET state = 'sold', updated_at = clock_timestamp()
    FROM mine WHERE claim.show_id = mine.show_id AND claim.label = mine.label
    RETURNING 1
)
SELECT 1 / (count(*) = :count)::int FROM sold
""")

FREE = text("""
WITH mine AS MATERIALIZED (
    SELECT show_id, label FROM seat_claims WHERE booking_id = :booking_id AND state = 'held'
    ORDER BY show_id, label FOR UPDATE
)
UPDATE seat_claims AS claim
SET state = 'free', booking_id = NULL, fence = fence + 1, updated_at = clock_timestamp()
FROM mine WHERE claim.show_id = mine.show_id AND claim.label = mine.label
RETURNING claim.label
""")


class PostgresSeatClaims:
    def __init__(self, session: Session) -> None:
        self._session = session

    async def claim(
        self, show_id: UUID, labels: Sequence[str], booking_id: UUID
    ) -> Claimed | Taken:
        won = await self._session.all(
            CLAIM, show_id=show_id, labels=list(labels), booking_id=booking_id
        )
        fences = {row.label: row.fence for row in won}
        if missing := tuple(label for label in labels if label not in fences):
            return Taken(missing)
        return Claimed(fences)

    def line_up(self, show_id: UUID, labels: Sequence[str]) -> None:
        self._session.later(LINE_UP, show_id=show_id, labels=list(labels))

    async def active(self, show_id: UUID, labels: Sequence[str] | None) -> list[ActiveClaim]:
        wanted = list(labels) if labels is not None else None
        found = await self._session.all(ACTIVE, show_id=show_id, labels=wanted)
        # One past its end may be paid yet, and is freed by its own booking: until then rivals are
        # turned away as by a lease.
        return [
            ActiveClaim(
                row.label,
                row.booking_id,
                row.state,
                max(PRECLAIM_LEASE_SECONDS, row.ttl) if row.state == "held" else None,
            )
            for row in found
        ]

    def sell(self, booking_id: UUID, *, count: int) -> None:
        self._session.later(SELL, count=count, booking_id=booking_id)

    async def free(self, booking_id: UUID, *, count: int) -> list[str]:
        freed = await self._session.all(FREE, booking_id=booking_id)
        if len(freed) != count:
            raise UnexpectedCount(f"{len(freed)} seats of booking {booking_id} freed, not {count}")
        return sorted(row.label for row in freed)
