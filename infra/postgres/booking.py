"""Bookings and their events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain.booking import Booking, BookingState, CloseReason, SeatPrice
from domain.events import ChainedEvent, Event, chain
from domain.money import Money
from domain.steps import BookingInput
from infra.postgres.booking_request import PostgresBookingRequests
from infra.postgres.database import Asked
from infra.postgres.event_store import EXTENSION, as_columns
from infra.postgres.show import SALE_IS_OPEN
from services.ports import HoldContext

# Shared by all holds of the show: cancelling it waits for them, and they for it, so that no hold
# judged by the show as it was begins after it was cancelled.
HOLD_LOCKS = text("""
SELECT pg_advisory_xact_lock(hashtextextended(:user_id, 0)),
       pg_advisory_xact_lock_shared(hashtextextended(:show_id, 1))
""")

# One row for each asked seat that the show sells, each with the whole context beside it; one row
# without a seat when it sells none of them. The request's row is locked: a refusal written
# meanwhile is seen, one written later waits.
HOLD_CONTEXT = text(f"""
WITH request AS MATERIALIZED (
    SELECT created_at, outcome, refusal FROM booking_requests WHERE id = :booking_id FOR UPDATE
), asked AS (
    SELECT * FROM unnest(CAST(:labels AS text[]), CAST(:types AS text[]))
        AS asked (label, ticket_type)
), priced AS (
    SELECT seats.label, seats.price_class, prices.ticket_type, prices.amount, seats.position
    FROM shows
    JOIN asked ON true
    JOIN seats ON seats.seat_map_id = shows.seat_map_id AND seats.label = asked.label
    JOIN prices ON prices.show_id = shows.id AND prices.price_class = seats.price_class
               AND prices.ticket_type = asked.ticket_type
    WHERE shows.id = :show_id
), given_up AS (
    -- What this buyer began of late and let go unpaid; of a hold whose end nobody has written yet
    -- the clock says so.
    SELECT count(*) FILTER (WHERE state <> 'cancelled') AS lapsed,
           count(*) FILTER (WHERE state = 'cancelled' AND show_id = :show_id) AS cancelled
    FROM bookings
    WHERE user_id = :user_id AND provider_payment_id IS NULL
      AND created_at > clock_timestamp() - make_interval(secs => :cool_down_seconds)
      AND (state = 'expired' AND close_reason = 'lapsed'
           OR state = 'cancelled' AND close_reason = 'cancelled'
           OR state = 'held' AND lapses AND hold_expires_at <= clock_timestamp())
)
SELECT
    (SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 FROM request) AS age,
    (SELECT outcome FROM request) AS outcome,
    (SELECT refusal FROM request) AS refusal,
    EXISTS (SELECT 1 FROM users WHERE id = :user_id AND erased_at IS NOT NULL) AS user_is_gone,
    shows.status,
    {SALE_IS_OPEN} AS sales_open,
    currency,
    (
        SELECT coalesce(sum(seat_count), 0) FROM bookings
        WHERE user_id = :user_id AND show_id = :show_id
          AND state IN ('held', 'expiring', 'cancelling', 'confirmed', 'refund_pending',
                        'disputed')
          AND NOT (state = 'held' AND lapses AND hold_expires_at <= clock_timestamp())
    ) AS seats_of_user,
    (
        SELECT count(*) FROM bookings
        WHERE user_id = :user_id AND state IN ('held', 'expiring', 'cancelling')
          AND NOT (state = 'held' AND lapses AND hold_expires_at <= clock_timestamp())
    ) AS live_holds,
    given_up.lapsed AS lapsed_holds, given_up.cancelled AS cancelled_holds,
    EXISTS (
        SELECT 1 FROM seat_claims JOIN bookings ON bookings.id = seat_claims.booking_id
        WHERE seat_claims.show_id = :show_id AND seat_claims.state = 'held'
          AND seat_claims.label = ANY(CAST(:labels AS text[]))
          AND lapses AND hold_expires_at <= clock_timestamp()
    ) AS has_lapsed,
    clock_timestamp() AS now,
    priced.label, price_class, ticket_type, amount
FROM shows CROSS JOIN given_up LEFT JOIN priced ON true WHERE shows.id = :show_id
ORDER BY priced.position
""")  # noqa: S608  # nosec B608

ADD = text("""
WITH added AS (
    INSERT INTO bookings (id, user_id, show_id, state, version, sequence, event_hash, currency,
                          total_amount, seat_count, extensions_left, hold_expires_at,
                          hold_max_expires_at)
    VALUES (:id, :user_id, :show_id, 'held', :version, :sequence, :event_hash, :currency, :amount,
            :seat_count, :extensions_left, :hold_expires_at, :hold_max_expires_at)
), settled AS (
    UPDATE booking_requests SET outcome = 'held' WHERE id = :id AND outcome IS NULL
), seated AS (
    INSERT INTO booking_seats (booking_id, label, price_class, ticket_type, amount)
    SELECT :id, * FROM unnest(CAST(:labels AS text[]), CAST(:classes AS text[]),
                              CAST(:types AS text[]), CAST(:amounts AS bigint[]))
)
INSERT INTO events (aggregate_id, sequence, event_type, schema_version, payload, actor, request_id,
                    version, previous_hash, hash)
SELECT :id, new.sequence, event_type, schema_version, payload, :actor, :request_id, :version,
       previous_hash, hash
FROM unnest(CAST(:sequences AS int[]), CAST(:event_types AS text[]),
            CAST(:schema_versions AS int[]), CAST(:payloads AS jsonb[]),
            CAST(:previous_hashes AS bytea[]), CAST(:hashes AS bytea[]))
     AS new (sequence, event_type, schema_version, payload, previous_hash, hash)
ORDER BY new.sequence
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

# The events are written only where the version was still the one that was read; with none written
# it fails by dividing by zero, so that a commit may travel with it.
RECORD = text("""
WITH changed AS (
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
        seat_count = coalesce(:seat_count, seat_count),
        provider_payment_id = coalesce(:provider_payment_id, provider_payment_id),
        confirming_payment_id = coalesce(:confirming_payment_id, confirming_payment_id)
    WHERE id = :id AND version = :version
    RETURNING id, version
), written AS (
    INSERT INTO events (aggregate_id, sequence, event_type, schema_version, payload, actor,
                        request_id, version, previous_hash, hash)
    SELECT changed.id, new.sequence, event_type, schema_version, payload, :actor, :request_id,
           changed.version, previous_hash, hash
    FROM changed, unnest(CAST(:sequences AS int[]), CAST(:event_types AS text[]),
                         CAST(:schema_versions AS int[]), CAST(:payloads AS jsonb[]),
                         CAST(:previous_hashes AS bytea[]), CAST(:hashes AS bytea[]))
         AS new (sequence, event_type, schema_version, payload, previous_hash, hash)
    ORDER BY new.sequence
    RETURNING 1
)
SELECT 1 / (count(*) = cardinality(CAST(:sequences AS int[])))::int FROM written
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
        "seat_count",
        "provider_payment_id",
        "confirming_payment_id",
    )
)


class PostgresBookings(PostgresBookingRequests):
    async def hold_context(self, input: BookingInput) -> HoldContext:
        self._session.later(HOLD_LOCKS, user_id=input.user_id, show_id=input.show_id)
        rows = await self._session.all(
            HOLD_CONTEXT,
            booking_id=UUID(input.booking_id),
            user_id=UUID(input.user_id),
            show_id=UUID(input.show_id),
            labels=[seat.label for seat in input.seats],
            types=[seat.ticket_type for seat in input.seats],
            cool_down_seconds=input.cool_down_seconds,
        )
        if not rows:
            raise LookupError(f"show {input.show_id} has no row")
        row = rows[0]
        return HoldContext(
            request_age_seconds=row.age,
            request_outcome=row.outcome,
            request_refusal=row.refusal,
            user_is_gone=row.user_is_gone,
            show_status=row.status,
            sales_open=row.sales_open,
            currency=row.currency,
            seats_of_user=row.seats_of_user,
            live_holds_of_user=row.live_holds,
            lapsed_holds_of_user=row.lapsed_holds,
            cancelled_holds_of_user_show=row.cancelled_holds,
            has_lapsed_hold=row.has_lapsed,
            prices={
                one.label: SeatPrice(one.label, one.price_class, one.ticket_type, one.amount)
                for one in rows
                if one.label is not None
            },
            now=row.now,
        )

    def add(
        self,
        booking: Booking,
        seats: Sequence[SeatPrice],
        events: Sequence[Event],
        *,
        actor: str,
        request_id: str | None,
    ) -> None:
        chained = _chained(booking, events, actor=actor, request_id=request_id)
        self._session.later(
            ADD,
            **as_columns(chained),
            actor=actor,
            request_id=request_id,
            id=booking.id,
            version=booking.version,
            user_id=booking.user_id,
            show_id=booking.show_id,
            currency=booking.total.currency,
            amount=booking.total.amount,
            seat_count=booking.seat_count,
            extensions_left=booking.extensions_left,
            hold_expires_at=booking.hold_expires_at,
            hold_max_expires_at=booking.hold_max_expires_at,
            labels=[seat.label for seat in seats],
            classes=[seat.price_class for seat in seats],
            types=[seat.ticket_type for seat in seats],
            amounts=[seat.amount for seat in seats],
        )

    def lock_user(self, user_id: UUID, show_id: UUID) -> None:
        self._session.later(HOLD_LOCKS, user_id=str(user_id), show_id=str(show_id))

    async def lock(self, booking_id: UUID) -> Booking | None:
        return _found(await self._session.one(LOCK, id=booking_id))

    def lock_soon(self, booking_id: UUID) -> Asked[Booking | None]:
        return self._session.soon(LOCK, _found, id=booking_id)

    async def peek(self, booking_id: UUID) -> Booking | None:
        return _found(await self._session.one(PEEK, id=booking_id))

    async def lock_lapsed(self, show_id: UUID, labels: Sequence[str]) -> list[Booking]:
        rows = await self._session.all(LOCK_LAPSED, show_id=show_id, labels=list(labels))
        return [_booking(row) for row in rows]

    async def seats(self, booking_id: UUID) -> tuple[UUID, list[str]]:
        return _seats(await self._session.one(SEATS, id=booking_id))

    def seats_soon(self, booking_id: UUID) -> Asked[tuple[UUID, list[str]]]:
        return self._session.soon(SEATS, _seats, id=booking_id)

    async def was_extended(self, booking_id: UUID, extension_id: str) -> bool:
        found = await self._session.one(EXTENSION, id=booking_id, extension_id=extension_id)
        return found is not None

    def record(
        self,
        booking: Booking,
        events: Sequence[Event],
        *,
        actor: str,
        request_id: str | None,
        **changes: Any,
    ) -> Booking:
        chained = _chained(booking, events, actor=actor, request_id=request_id)
        self._session.later(
            RECORD,
            **{**NO_CHANGES, **changes},
            **as_columns(chained),
            actor=actor,
            request_id=request_id,
            id=booking.id,
            version=booking.version,
        )
        known: dict[str, Any] = {
            name: value for name, value in changes.items() if hasattr(booking, name)
        }
        return replace(
            booking,
            version=booking.version + 1,
            sequence=chained[-1].sequence,
            event_hash=chained[-1].hash,
            **known,
        )


def _chained(
    booking: Booking, events: Sequence[Event], *, actor: str, request_id: str | None
) -> list[ChainedEvent]:
    return chain(
        booking.id,
        list(events),
        sequence=booking.sequence,
        previous_hash=booking.event_hash,
        actor=actor,
        request_id=request_id,
    )


def _seats(row: Any | None) -> tuple[UUID, list[str]]:
    if row is None:
        raise LookupError("the booking has no seats")
    return row.show_id, row.labels


def _found(row: Any | None) -> Booking | None:
    return _booking(row) if row else None


def _booking(row: Any) -> Booking:
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
        provider_payment_id=row.provider_payment_id,
        now=row.now,
        confirming_payment_id=row.confirming_payment_id,
    )
