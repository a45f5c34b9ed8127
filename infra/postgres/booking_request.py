"""What was asked for, before it is a booking, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text

from domain.steps import BookingInput, SeatChoice
from infra.postgres.database import Session
from infra.postgres.idempotency import KEPT_SECONDS
from services.ports import RequestOutcome

# The disk is not waited for: a request that a crash takes along was never held, for a hold that
# is on the disk has its request there before it, and a hold without one is refused.
ADD_REQUEST = text("""
WITH unhurried AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
), added AS (
    INSERT INTO booking_requests (id, user_id, show_id, key_hash, body_hash, seats, ticket_types)
    SELECT CAST(:id AS uuid), CAST(:user_id AS uuid), CAST(:show_id AS uuid),
           CAST(:key_hash AS bytea), CAST(:body_hash AS bytea),
           CAST(:seats AS text[]), CAST(:types AS text[])
    FROM unhurried
    ON CONFLICT (id) DO NOTHING
)
SELECT user_id, outcome, refusal, seats, ticket_types,
       created_at < clock_timestamp() - make_interval(secs => :kept) AS key_is_over
FROM booking_requests WHERE id = :id
""")

REQUESTS = text("""
SELECT id, user_id, outcome, refusal, seats, ticket_types,
       created_at < clock_timestamp() - make_interval(secs => :kept) AS key_is_over
FROM booking_requests WHERE id = ANY(CAST(:ids AS uuid[]))
""")

REJECT_REQUEST = text("""
UPDATE booking_requests SET outcome = 'rejected', refusal = CAST(:refusal AS jsonb)
WHERE id = :id AND outcome IS NULL
""")


class PostgresBookingRequests:
    def __init__(self, session: Session) -> None:
        self._session = session

    async def add_request(
        self, input: BookingInput, *, key_hash: bytes | None, body_hash: bytes
    ) -> RequestOutcome:
        # A row inserted by this statement is not in its own snapshot: nothing is known of it yet.
        row = await self._session.one(
            ADD_REQUEST,
            id=UUID(input.booking_id),
            user_id=UUID(input.user_id),
            show_id=UUID(input.show_id),
            key_hash=key_hash,
            body_hash=body_hash,
            seats=[seat.label for seat in input.seats],
            types=[seat.ticket_type for seat in input.seats],
            kept=KEPT_SECONDS,
        )
        return _outcome(row) if row else RequestOutcome(None)

    async def request_outcome(self, booking_id: UUID) -> RequestOutcome:
        found = await self.requests([booking_id])
        return found.get(booking_id, RequestOutcome(None))

    async def requests(self, booking_ids: Sequence[UUID]) -> dict[UUID, RequestOutcome]:
        rows = await self._session.all(REQUESTS, ids=list(booking_ids), kept=KEPT_SECONDS)
        return {row.id: _outcome(row) for row in rows}

    def reject_request(self, booking_id: UUID, refusal: Mapping[str, Any]) -> None:
        self._session.later(REJECT_REQUEST, id=booking_id, refusal=orjson.dumps(refusal).decode())


def _outcome(row: Any) -> RequestOutcome:
    seats = [SeatChoice(*seat) for seat in zip(row.seats, row.ticket_types, strict=True)]
    return RequestOutcome(row.outcome, row.refusal, seats, row.user_id, row.key_is_over)
