"""Bookings, their requests and their events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.booking import Booking, BookingState, CloseReason, SeatPrice
from domain.events import ChainedEvent, Event, chain
from domain.money import Money
from domain.steps import BookingInput
from services.ports import HoldContext, NewBooking, RequestOutcome

USER_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:user_id, 0))")

# The request's row is locked: a refusal written meanwhile is seen, one written later waits.
HOLD_CONTEXT = text("""
WITH request AS MATERIALIZED (
    SELECT created_at, outcome, refusal FROM booking_requests WHERE id = :booking_id FOR UPDATE
), mine AS (
    SELECT show_id, state, seat_count FROM bookings
    WHERE user_id = :user_id
      AND (show_id = :show_id OR state IN ('held', 'expiring', 'cancelling'))
      AND state IN ('held', 'expiring', 'cancelling', 'confirmed')
      AND NOT (state = 'held' AND lapses AND hold_expires_at <= clock_timestamp())
)
SELECT
    (SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 FROM request) AS age,
    (SELECT outcome FROM request) AS outcome,
    (SELECT refusal FROM request) AS refusal,
    shows.status,
    clock_timestamp() BETWEEN sales_open_at AND sales_close_at AS sales_open,
    currency,
    (SELECT coalesce(sum(seat_count), 0) FROM mine WHERE show_id = :show_id) AS seats_of_user,
    (SELECT count(*) FROM mine WHERE state <> 'confirmed') AS live_holds
FROM shows WHERE id = :show_id
""")

ADD = text("""
WITH added AS (
    INSERT INTO bookings (id, user_id, show_id, state, currency, total_amount, seat_count,
                          extensions_left, hold_expires_at, hold_max_expires_at)
    SELECT :id, :user_id, :show_id, 'held', :currency, :amount, :seat_count, :extensions_left,
           now + make_interval(secs => :hold_seconds),
           now + make_interval(secs => :hold_max_seconds)
    FROM (SELECT clock_timestamp() AS now) AS clock
    RETURNING *
), seats AS (
    INSERT INTO booking_seats (booking_id, label, price_class, ticket_type, amount)
    SELECT :id, * FROM unnest(CAST(:labels AS text[]), CAST(:classes AS text[]),
                              CAST(:types AS text[]), CAST(:amounts AS bigint[]))
)
SELECT *, clock_timestamp() AS now FROM added
""")

# The lock comes first, then the clock: a wait for the lock must not make a hold look alive.
LOCK = text("""
WITH locked AS MATERIALIZED (SELECT * FROM bookings WHERE id = :id FOR UPDATE)
SELECT *, clock_timestamp() AS now FROM locked
""")

PEEK = text("SELECT *, clock_timestamp() AS now FROM bookings WHERE id = :id")

LOCK_LAPSED = text("""
WITH locked AS MATERIALIZED (
    SELECT * FROM bookings
    WHERE id IN (
        SELECT booking_id FROM seat_claims
        WHERE show_id = :show_id AND label = ANY(CAST(:labels AS text[])) AND state = 'held'
    ) AND lapses AND hold_expires_at <= clock_timestamp()
    ORDER BY id FOR UPDATE
)
SELECT *, clock_timestamp() AS now FROM locked WHERE state = 'held' AND lapses ORDER BY id
""")

SEATS = text("""
SELECT show_id, array_agg(label ORDER BY label) AS labels
FROM bookings JOIN booking_seats ON booking_id = id WHERE id = :id GROUP BY show_id
""")

CHANGE = text("""
UPDATE bookings SET
    version = version + 1, sequence = :sequence, event_hash = :event_hash,
    updated_at = clock_timestamp(),
    state = coalesce(:state, state),
    hold_expires_at = coalesce(:hold_expires_at, hold_expires_at),
    extensions_left = coalesce(:extensions_left, extensions_left),
    lapses = coalesce(:lapses, lapses),
    closing_since = coalesce(:closing_since, closing_since),
    close_reason = coalesce(:close_reason, close_reason),
    payment_uncertain = coalesce(:payment_uncertain, payment_uncertain),
    provider_payment_id = coalesce(:provider_payment_id, provider_payment_id)
WHERE id = :id AND version = :version
""")
NO_CHANGES: Mapping[str, Any] = dict.fromkeys(
    (
        "state",
        "hold_expires_at",
        "extensions_left",
        "lapses",
        "closing_since",
        "close_reason",
        "payment_uncertain",
        "provider_payment_id",
    )
)

APPEND = text("""
INSERT INTO events (aggregate_id, sequence, event_type, payload, actor, request_id, version,
                    previous_hash, hash)
SELECT :aggregate_id, sequence, event_type, payload, :actor, :request_id, :version,
       previous_hash, hash
FROM unnest(CAST(:sequences AS int[]), CAST(:types AS text[]), CAST(:payloads AS jsonb[]),
            CAST(:previous_hashes AS bytea[]), CAST(:hashes AS bytea[]))
     AS new (sequence, event_type, payload, previous_hash, hash)
ORDER BY sequence
""")

ADD_REQUEST = text("""
WITH added AS (
    INSERT INTO booking_requests (id, user_id, show_id, key_hash, body_hash, seats, ticket_types)
    VALUES (:id, :user_id, :show_id, :key_hash, :body_hash, :seats, :types)
    ON CONFLICT (id) DO NOTHING
)
SELECT outcome, refusal FROM booking_requests WHERE id = :id
""")

REQUEST_OUTCOME = text("SELECT outcome, refusal FROM booking_requests WHERE id = :id")

SETTLE_REQUEST = text("""
UPDATE booking_requests SET outcome = :outcome, refusal = CAST(:refusal AS jsonb)
WHERE id = :id AND outcome IS NULL
""")


class StaleVersion(Exception):
    """Somebody wrote to a booking that this transaction believed locked: a bug, so undo it all."""


class PostgresBookings:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def hold_context(self, *, booking_id: UUID, user_id: UUID, show_id: UUID) -> HoldContext:
        await self._connection.execute(USER_LOCK, {"user_id": str(user_id)})
        found = await self._connection.execute(
            HOLD_CONTEXT, {"booking_id": booking_id, "user_id": user_id, "show_id": show_id}
        )
        row = found.one()
        return HoldContext(
            request_age_seconds=row.age,
            request_outcome=row.outcome,
            request_refusal=row.refusal,
            show_status=row.status,
            sales_open=row.sales_open,
            currency=row.currency,
            seats_of_user=row.seats_of_user,
            live_holds_of_user=row.live_holds,
        )

    async def add(self, new: NewBooking, seats: Sequence[SeatPrice]) -> Booking:
        added = await self._connection.execute(
            ADD,
            {
                "id": new.id,
                "user_id": new.user_id,
                "show_id": new.show_id,
                "currency": new.total.currency,
                "amount": new.total.amount,
                "seat_count": len(seats),
                "extensions_left": new.extensions_left,
                "hold_seconds": new.hold_seconds,
                "hold_max_seconds": new.hold_max_seconds,
                "labels": [seat.label for seat in seats],
                "classes": [seat.price_class for seat in seats],
                "types": [seat.ticket_type for seat in seats],
                "amounts": [seat.amount for seat in seats],
            },
        )
        return _booking(added.one())

    async def lock(self, booking_id: UUID) -> Booking | None:
        found = await self._connection.execute(LOCK, {"id": booking_id})
        row = found.one_or_none()
        return _booking(row) if row else None

    async def peek(self, booking_id: UUID) -> Booking | None:
        row = (await self._connection.execute(PEEK, {"id": booking_id})).one_or_none()
        return _booking(row) if row else None

    async def lock_lapsed(self, show_id: UUID, labels: Sequence[str]) -> list[Booking]:
        found = await self._connection.execute(
            LOCK_LAPSED, {"show_id": show_id, "labels": list(labels)}
        )
        return [_booking(row) for row in found]

    async def seats(self, booking_id: UUID) -> tuple[UUID, list[str]]:
        row = (await self._connection.execute(SEATS, {"id": booking_id})).one()
        return row.show_id, row.labels

    async def record(
        self,
        booking: Booking,
        events: Sequence[Event],
        *,
        actor: str,
        request_id: str | None,
        **changes: Any,
    ) -> Booking:
        chained = chain(
            booking.id, list(events), sequence=booking.sequence, previous_hash=booking.event_hash
        )
        last: dict[str, Any] = {"sequence": chained[-1].sequence, "event_hash": chained[-1].hash}
        version = booking.version
        changed = await self._connection.execute(
            CHANGE, {**NO_CHANGES, **changes, **last, "id": booking.id, "version": version}
        )
        if changed.rowcount != 1:
            raise StaleVersion(f"booking {booking.id} is not at version {version}")
        await self._append(booking.id, chained, actor, request_id, version + 1)
        known: dict[str, Any] = {
            name: value for name, value in changes.items() if hasattr(booking, name)
        }
        return replace(booking, version=version + 1, **last, **known)

    async def _append(
        self,
        aggregate_id: UUID,
        chained: Sequence[ChainedEvent],
        actor: str,
        request_id: str | None,
        version: int,
    ) -> None:
        await self._connection.execute(
            APPEND,
            {
                "aggregate_id": aggregate_id,
                "actor": actor,
                "request_id": request_id,
                "version": version,
                "sequences": [one.sequence for one in chained],
                "types": [str(one.event.type) for one in chained],
                "payloads": [orjson.dumps(dict(one.event.payload)).decode() for one in chained],
                "previous_hashes": [one.previous_hash for one in chained],
                "hashes": [one.hash for one in chained],
            },
        )

    async def add_request(
        self, input: BookingInput, *, key_hash: bytes | None, body_hash: bytes
    ) -> RequestOutcome:
        found = await self._connection.execute(
            ADD_REQUEST,
            {
                "id": UUID(input.booking_id),
                "user_id": UUID(input.user_id),
                "show_id": UUID(input.show_id),
                "key_hash": key_hash,
                "body_hash": body_hash,
                "seats": [seat.label for seat in input.seats],
                "types": [seat.ticket_type for seat in input.seats],
            },
        )
        # A row inserted by this statement is not in its own snapshot: nothing is known of it yet.
        row = found.one_or_none()
        return RequestOutcome(row.outcome, row.refusal) if row else RequestOutcome(None)

    async def request_outcome(self, booking_id: UUID) -> RequestOutcome:
        found = await self._connection.execute(REQUEST_OUTCOME, {"id": booking_id})
        row = found.one_or_none()
        return RequestOutcome(row.outcome, row.refusal) if row else RequestOutcome(None)

    async def settle_request(
        self, booking_id: UUID, outcome: str, refusal: Mapping[str, Any] | None = None
    ) -> bool:
        written = await self._connection.execute(
            SETTLE_REQUEST,
            {
                "id": booking_id,
                "outcome": outcome,
                "refusal": orjson.dumps(refusal).decode() if refusal is not None else None,
            },
        )
        return written.rowcount == 1


def _booking(row: Row[Any]) -> Booking:
    return Booking(
        id=row.id,
        user_id=row.user_id,
        show_id=row.show_id,
        state=BookingState(row.state),
        version=row.version,
        sequence=row.sequence,
        event_hash=bytes(row.event_hash),
        total=Money(row.total_amount, row.currency),
        seat_count=row.seat_count,
        hold_expires_at=row.hold_expires_at,
        hold_max_expires_at=row.hold_max_expires_at,
        extensions_left=row.extensions_left,
        lapses=row.lapses,
        closing_since=row.closing_since,
        close_reason=CloseReason(row.close_reason) if row.close_reason else None,
        now=row.now,
    )
