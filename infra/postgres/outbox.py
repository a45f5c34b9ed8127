"""The notification outbox: queued with the state it tells of, sent by whoever claims it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain.money import Money
from domain.user import Choices
from infra.postgres.database import Database, Session
from services.notification import (
    NO_PHONE,
    Delivery,
    Notice,
    OfferLine,
    Outcome,
    RefundLine,
    lost,
)

# An SMS that has nowhere to go is settled at once: most people give no number.
QUEUE = text("""
INSERT INTO notification_outbox (booking_id, user_id, template, channel, revision, state, reason,
                                 next_attempt_at)
SELECT :booking_id, :user_id, :template, channel, :revision,
       CASE WHEN nowhere THEN 'suppressed' ELSE 'pending' END,
       CASE WHEN nowhere THEN :no_phone END, CASE WHEN NOT nowhere THEN now() END
FROM users CROSS JOIN unnest(CAST(:channels AS text[])) AS channel
CROSS JOIN LATERAL (SELECT channel = 'sms' AND phone IS NULL AS nowhere) AS address
WHERE users.id = :user_id
ON CONFLICT (booking_id, template, revision, channel) DO NOTHING
""")

# now() and not clock_timestamp(): only a stable function can be looked up in the index.
LEASES_LOST = text("""
SELECT id, channel, attempts, ambiguous_attempts, handed_over FROM notification_outbox
WHERE state = 'sending' AND next_attempt_at <= now()
ORDER BY next_attempt_at LIMIT :limit
""")

CLAIM = text("""
WITH due AS (
    SELECT id FROM notification_outbox
    WHERE state = 'pending' AND next_attempt_at <= now() AND booking_id IS NOT NULL
    ORDER BY next_attempt_at LIMIT :limit FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE notification_outbox AS notice SET state = 'sending', attempts = attempts + 1,
        next_attempt_at = now() + make_interval(secs => :lease_seconds)
    FROM due WHERE notice.id = due.id
    RETURNING notice.id, notice.booking_id, template, revision, channel, attempts,
        ambiguous_attempts
)
SELECT claimed.*, bookings.state AS booking_state, bookings.currency, bookings.total_amount,
    users.name, users.email, users.phone, users.notify_email, users.notify_sms,
    movies.title AS movie, theatres.name AS theatre,
    theatres.city, theatres.address, theatres.timezone, auditoriums.name AS auditorium,
    shows.starts_at,
    ARRAY(
        SELECT booked.label FROM booking_seats AS booked
        WHERE booked.booking_id = bookings.id
          AND (booked.released_at IS NULL OR bookings.state NOT IN ('confirmed', 'disputed'))
        ORDER BY (
            SELECT position FROM seats
            WHERE seats.seat_map_id = shows.seat_map_id AND seats.label = booked.label
        ), booked.label
    ) AS labels,
    (
        SELECT jsonb_agg(jsonb_build_array(amount, currency, reason, number, seats, status)
                         ORDER BY created_at, id)
        FROM refunds WHERE booking_id = bookings.id
    ) AS refunds,
    (
        SELECT jsonb_agg(jsonb_build_array(amount, currency, decision) ORDER BY created_at, id)
        FROM provider_payments WHERE booking_id = bookings.id AND captured = 0
          AND decision NOT IN ('confirms', 'refused')
    ) AS voids,
    (
        SELECT sum(amount)::bigint FROM disputes
        WHERE booking_id = bookings.id AND status = 'lost'
    ) AS taken_back,
    NOT bookings.lapses AS page_opened, payment_uncertain,
    coalesce(close_reason = 'released', false) AS released,
    CASE WHEN bookings.state = 'held' THEN hold_expires_at END AS held_until,
    EXISTS (
        SELECT 1 FROM events
        WHERE aggregate_id = bookings.id AND event_type = 'LatePaymentAccepted'
    ) AS came_late,
    (
        SELECT jsonb_build_object('seats', seats, 'expires_at', expires_at, 'state', state)
        FROM seat_offers WHERE booking_id = bookings.id ORDER BY created_at DESC LIMIT 1
    ) AS offer
FROM claimed
JOIN bookings ON bookings.id = claimed.booking_id
JOIN users ON users.id = bookings.user_id
JOIN shows ON shows.id = bookings.show_id
JOIN movies ON movies.id = shows.movie_id
JOIN auditoriums ON auditoriums.id = shows.auditorium_id
JOIN theatres ON theatres.id = auditoriums.theatre_id
ORDER BY claimed.id
""")

# `attempts` is the fence: who lost the lease to another try cannot speak for that try.
RECORD = text("""
UPDATE notification_outbox SET state = CAST(:state AS text), reason = :reason,
    handed_over = false,
    ambiguous_attempts = ambiguous_attempts + CAST(:ambiguous AS integer),
    next_attempt_at = clock_timestamp() + make_interval(secs => :wait_seconds),
    sent_at = CASE WHEN :state = 'sent' THEN clock_timestamp() END
WHERE id = :id AND state = 'sending' AND attempts = :attempts
""")
HAND_OVER = text("""
UPDATE notification_outbox SET handed_over = true
WHERE id = :id AND state = 'sending' AND attempts = :attempts
""")


def queue(
    session: Session,
    *,
    booking_id: UUID,
    user_id: UUID,
    template: str,
    channels: Sequence[str],
    revision: int = 1,
) -> None:
    """Add a notification to the caller's transaction, one row a channel, once a revision."""
    session.later(
        QUEUE,
        booking_id=booking_id,
        user_id=user_id,
        template=template,
        channels=list(channels),
        revision=revision,
        no_phone=NO_PHONE.reason,
    )


class Tries:
    """What is written down of a try is the same for all messages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, delivery: Delivery, outcome: Outcome) -> bool:
        async with self._database.statements() as session:
            return await record(session, delivery, outcome)

    async def note_handover(self, delivery: Delivery) -> bool:
        async with self._database.statements() as session:
            return await session.change(HAND_OVER, id=delivery.id, attempts=delivery.attempts) == 1


class PostgresOutboxQueue(Tries):
    async def take(self, limit: int, *, lease_seconds: float) -> list[tuple[Delivery, Notice]]:
        async with self._database.statements() as session:
            # Before anything is claimed: a second message is sent only after the doubt about the
            # first is on record.
            await record_lost(session, limit)
            rows = await session.all(CLAIM, limit=limit, lease_seconds=lease_seconds)
        return [(delivery_of(row), _notice(row)) for row in rows]


async def record_lost(session: Session, limit: int) -> None:
    """Write down what is known of tries whose lease ran out."""
    for row in await session.all(LEASES_LOST, limit=limit):
        delivery = delivery_of(row)
        await record(session, delivery, lost(delivery, handed_over=row.handed_over))


async def record(session: Session, delivery: Delivery, outcome: Outcome) -> bool:
    changed = await session.change(
        RECORD,
        id=delivery.id,
        attempts=delivery.attempts,
        state=outcome.state,
        reason=outcome.reason,
        ambiguous=int(outcome.ambiguous),
        wait_seconds=outcome.wait_seconds,
    )
    return changed == 1


def delivery_of(row: Any) -> Delivery:
    return Delivery(row.id, row.channel, row.attempts, row.ambiguous_attempts)


def _notice(row: Any) -> Notice:
    return Notice(
        booking_id=row.booking_id,
        template=row.template,
        revision=row.revision,
        booking_state=row.booking_state,
        name=row.name,
        email=row.email,
        phone=row.phone,
        movie=row.movie,
        theatre=row.theatre,
        city=row.city,
        address=row.address,
        auditorium=row.auditorium,
        starts_at=row.starts_at,
        timezone=row.timezone,
        seats=tuple(row.labels),
        total=Money(row.total_amount, row.currency),
        refunds=_refunds(row),
        voids=_voids(row),
        lapse=_lapse(row),
        released=row.released,
        held_until=row.held_until,
        taken_back=Money(row.taken_back, row.currency) if row.taken_back else None,
        came_late=row.came_late,
        offer=_offer(row.offer),
        wants=Choices(email=row.notify_email, sms=row.notify_sms),
    )


def _offer(told: dict[str, Any] | None) -> OfferLine | None:
    if told is None:
        return None
    return OfferLine(
        seats=tuple(seat["label"] for seat in told["seats"]),
        expires_at=datetime.fromisoformat(told["expires_at"]),
        is_open=told["state"] == "open",
    )


def _voids(row: Any) -> tuple[RefundLine, ...]:
    return tuple(
        RefundLine(Money(amount, currency), reason) for amount, currency, reason in row.voids or ()
    )


def _refunds(row: Any) -> tuple[RefundLine, ...]:
    """The one that the message is about: a revision is its place among the booking's refunds.

    Of a cancelled show, all that its cancellation sends back.
    """
    if row.template == "show_cancelled":
        return tuple(
            RefundLine(Money(amount, currency), reason, True, tuple(seats))
            for amount, currency, reason, _, seats, status in row.refunds or []
            if reason == "show_cancelled" and status != "failed"
        )
    if not row.template.startswith("refund"):
        return ()
    return tuple(
        RefundLine(Money(amount, currency), reason, number is not None, tuple(seats))
        for amount, currency, reason, number, seats, status in (row.refunds or [])[
            row.revision - 1 : row.revision
        ]
        # Money that does not come is not announced, except by the message that says so.
        if status != "failed" or row.template == "refund_failed"
    )


def _lapse(row: Any) -> str | None:
    if not row.page_opened:
        return None
    if row.refunds:
        return "refunding"
    return "uncertain" if row.payment_uncertain else "unpaid"
