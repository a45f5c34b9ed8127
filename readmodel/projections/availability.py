"""Availability: the last holder of each seat of a show, and what became of its claim."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text

from domain.history import History
from infra.postgres.database import Session
from readmodel.projections.facts import Batch

# The fence says which of two holders came later, whatever order they became known in.
PUT = text("""
INSERT INTO projected_seats AS seat
    (generation, show_id, label, fence, state, booking_id, free_at)
SELECT :generation, * FROM unnest(
    CAST(:shows AS uuid[]), CAST(:labels AS text[]), CAST(:fences AS bigint[]),
    CAST(:states AS text[]), CAST(:bookings AS uuid[]), CAST(:free_at AS timestamptz[]))
ON CONFLICT (generation, show_id, label) DO UPDATE
SET fence = excluded.fence, state = excluded.state, booking_id = excluded.booking_id,
    free_at = excluded.free_at
WHERE seat.fence <= excluded.fence
""")
CLEAR = text("""
DELETE FROM projected_seats WHERE (generation, show_id, label) IN (
    SELECT generation, show_id, label FROM projected_seats
    WHERE generation = :generation ORDER BY generation, show_id, label LIMIT 1000
)
""")


class Claim(NamedTuple):
    """``free_at``: when a hold ends by the clock alone."""

    fence: int
    state: str
    booking_id: UUID
    free_at: datetime | None


Seats = dict[tuple[UUID, str], Claim]


class Availability:
    name = "availability"
    clear = CLEAR

    def apply(self, session: Session, generation: int, batch: Batch) -> None:
        changed: Seats = {}
        for booking_id, history in batch.after.items():
            known = batch.before.get(booking_id)
            before = claims_of(known) if known else {}
            for seat, claim in claims_of(history).items():
                latest = changed.get(seat)
                if claim != before.get(seat) and (latest is None or latest.fence < claim.fence):
                    changed[seat] = claim
        if not changed:
            return
        session.later(
            PUT,
            generation=generation,
            shows=[show_id for show_id, _ in changed],
            labels=[label for _, label in changed],
            fences=[claim.fence for claim in changed.values()],
            states=[claim.state for claim in changed.values()],
            bookings=[claim.booking_id for claim in changed.values()],
            free_at=[claim.free_at for claim in changed.values()],
        )


def claims_of(history: History) -> Seats:
    ends = history.ends_by_clock_at
    return {
        (history.show_id, label): Claim(
            seat.fence,
            seat.state if seat.state in ("held", "sold") else "free",
            history.booking_id,
            ends if seat.state == "held" else None,
        )
        for label, seat in history.seats.items()
    }
