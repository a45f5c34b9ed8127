"""A booking as its owner sees it, read from the rows that its commands wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain.payment_status import shown
from domain.upcasters import FromTheFuture, upcast
from infra.postgres.database import Session
from readmodel.instants import stamp
from readmodel.pages import Place, page_of
from readmodel.sentences import sentence

Json = dict[str, Any]

SELECT_BOOKING = """
SELECT bookings.id, bookings.state, bookings.user_id, bookings.show_id, bookings.version,
       bookings.currency, bookings.total_amount, bookings.hold_expires_at,
       bookings.hold_max_expires_at, bookings.extensions_left, bookings.case_id,
       bookings.created_at, bookings.updated_at, clock_timestamp() AS now,
       movies.title AS movie, theatres.name AS theatre, theatres.timezone,
       auditoriums.name AS auditorium, shows.starts_at,
       (SELECT json_agg(json_build_object('label', label, 'price_class', price_class,
                   'ticket_type', ticket_type, 'amount', amount,
                   'released', released_at IS NOT NULL) ORDER BY label)
        FROM booking_seats WHERE booking_id = bookings.id) AS seats,
       (SELECT row_to_json(shown) FROM (
            SELECT id, provider, session_id, amount, currency, checkout_url, expires_at,
                   CASE WHEN disputed THEN 'disputed' ELSE status END AS status
            FROM payments WHERE booking_id = bookings.id
            ORDER BY (id = (SELECT payment_id FROM provider_payments WHERE id = coalesce(
                         bookings.provider_payment_id, bookings.confirming_payment_id))) IS TRUE
                     DESC, attempt DESC
            LIMIT 1
        ) AS shown) AS payment,
       (SELECT json_agg(json_build_object('id', id, 'status', status, 'reason', reason,
                   'number', number, 'seats', seats,
                   'amount', json_build_object('amount', amount, 'currency', currency))
                   ORDER BY created_at)
        FROM refunds WHERE booking_id = bookings.id) AS refunds,
       (SELECT json_build_object('seats', seats, 'expires_at', expires_at) FROM seat_offers
        WHERE booking_id = bookings.id AND seat_offers.state = 'open') AS offer
FROM bookings
JOIN shows ON shows.id = bookings.show_id
JOIN movies ON movies.id = shows.movie_id
JOIN auditoriums ON auditoriums.id = shows.auditorium_id
JOIN theatres ON theatres.id = auditoriums.theatre_id
"""

BY_ID = text(SELECT_BOOKING + "WHERE bookings.id = :id")

OF_USER = text(
    SELECT_BOOKING
    + """
WHERE bookings.user_id = :user_id
  AND (CAST(:state AS text) IS NULL OR bookings.state = :state)
  AND (CAST(:before_at AS timestamptz) IS NULL
       OR (bookings.created_at, bookings.id) < (:before_at, CAST(:before_id AS uuid)))
ORDER BY bookings.created_at DESC, bookings.id DESC LIMIT :limit
"""
)

# A request that has no booking yet, or never got one.
SELECT_REQUEST = """
SELECT asked.id, asked.user_id, asked.show_id, asked.created_at, asked.outcome, asked.refusal,
       clock_timestamp() AS now, shows.currency, shows.starts_at, movies.title AS movie,
       theatres.name AS theatre, theatres.timezone, auditoriums.name AS auditorium,
       (SELECT json_agg(json_build_object('label', seats.label, 'price_class', seats.price_class,
                   'ticket_type', prices.ticket_type, 'amount', prices.amount)
                   ORDER BY seats.label)
        FROM unnest(asked.seats, asked.ticket_types) AS choice (label, ticket_type)
        JOIN seats ON seats.seat_map_id = shows.seat_map_id AND seats.label = choice.label
        JOIN prices ON prices.show_id = shows.id AND prices.price_class = seats.price_class
                   AND prices.ticket_type = choice.ticket_type) AS seats
FROM booking_requests AS asked
JOIN shows ON shows.id = asked.show_id
JOIN movies ON movies.id = shows.movie_id
JOIN auditoriums ON auditoriums.id = shows.auditorium_id
JOIN theatres ON theatres.id = auditoriums.theatre_id
"""

REQUEST = text(SELECT_REQUEST + "WHERE asked.id = :id")

PENDING_OF_USER = text(
    SELECT_REQUEST
    + """
WHERE asked.user_id = :user_id AND asked.outcome IS NULL
  AND (CAST(:before_at AS timestamptz) IS NULL
       OR (asked.created_at, asked.id) < (:before_at, CAST(:before_id AS uuid)))
ORDER BY asked.created_at DESC, asked.id DESC LIMIT :limit
"""
)

# A sentence that is not projected yet is made when it is read: the timeline is never behind.
EVENTS = text("""
SELECT event_type, schema_version, payload, created_at, told.text
FROM events LEFT JOIN projected_timeline AS told
  ON told.generation = (SELECT generation FROM projections
                        WHERE name = 'timeline' AND state = 'live')
 AND told.booking_id = events.aggregate_id AND told.sequence = events.sequence
WHERE aggregate_id = :id ORDER BY events.sequence
""")


async def read(session: Session, booking_id: UUID) -> Json | None:
    """The booking in the contract's shape, or its request as ``pending`` or ``rejected``."""
    found = await read_with_moment(session, booking_id)
    return found[0] if found is not None else None


async def read_with_moment(session: Session, booking_id: UUID) -> tuple[Json, datetime] | None:
    """The same, and when it was by the database clock."""
    row = await session.one(BY_ID, id=booking_id)
    if row is not None:
        return _booking(row), row.now
    row = await session.one(REQUEST, id=booking_id)
    return (_request(row), row.now) if row is not None else None


async def of_user(
    session: Session,
    user_id: UUID,
    *,
    state: str | None,
    before: Place | None,
    limit: int,
) -> tuple[list[Json], Place | None]:
    """One page, newest first, and the place to go on ``before``, if there is more.

    Requests that wait for their outcome are ``pending`` among the bookings.
    """
    before_at, before_id = before or (None, None)
    asked = {
        "user_id": user_id,
        "before_at": before_at,
        "before_id": before_id,
        "limit": limit + 1,
    }
    # The requests first: one that is held meanwhile is read twice, and counts as its booking.
    waiting = await session.all(PENDING_OF_USER, **asked) if state in (None, "pending") else []
    found = {row.id: (row, _request) for row in waiting}
    found |= {row.id: (row, _booking) for row in await session.all(OF_USER, state=state, **asked)}
    rows = sorted(
        (row for row, _ in found.values()), key=lambda row: (row.created_at, row.id), reverse=True
    )
    return page_of(rows, limit, lambda row: found[row.id][1](row))


async def timeline(session: Session, booking_id: UUID) -> list[Json]:
    """The booking's events as plain sentences, oldest first."""
    found = await session.all(EVENTS, id=booking_id)
    return [
        {
            "at": stamp(row.created_at),
            "type": row.event_type,
            "text": row.text or _sentence(row),
        }
        for row in found
    ]


def money(amount: int, currency: str) -> Json:
    return {"amount": amount, "currency": currency}


def _booking(row: Any) -> Json:
    held = row.state == "held"
    return {
        "id": str(row.id),
        "state": row.state,
        "user_id": str(row.user_id),
        "show": _show(row),
        "seats": _seats(row.seats, row.currency),
        "total": money(row.total_amount, row.currency),
        "hold": {
            "expires_at": stamp(row.hold_expires_at),
            "max_expires_at": stamp(row.hold_max_expires_at),
            "extensions_left": row.extensions_left,
            "server_now": stamp(row.now),
        }
        if held
        else None,
        "payment": _payment(row.payment),
        "refunds": row.refunds or [],
        "offer": _offer(row),
        "case_id": str(row.case_id) if row.case_id else None,
        "version": row.version,
        "created_at": stamp(row.created_at),
        "updated_at": stamp(row.updated_at),
    }


def _request(row: Any) -> Json:
    seats = row.seats or []
    return {
        "id": str(row.id),
        "state": "rejected" if row.outcome == "rejected" else "pending",
        "user_id": str(row.user_id),
        "show": _show(row),
        "seats": _seats(seats, row.currency),
        "total": money(sum(seat["amount"] for seat in seats), row.currency),
        "hold": None,
        "payment": None,
        "refunds": [],
        "offer": None,
        "case_id": None,
        "refusal": row.refusal
        and {name: row.refusal.get(name) for name in ("code", "detail", "seats")},
        "version": 0,
        "created_at": stamp(row.created_at),
        "updated_at": stamp(row.created_at),
    }


def _show(row: Any) -> Json:
    return {
        "id": str(row.show_id),
        "movie": row.movie,
        "theatre": row.theatre,
        "auditorium": row.auditorium,
        "starts_at": stamp(row.starts_at),
        "timezone": row.timezone,
    }


def _seats(seats: Sequence[Mapping[str, Any]], currency: str) -> list[Json]:
    return [
        {
            "label": seat["label"],
            "price_class": seat["price_class"],
            "ticket_type": seat["ticket_type"],
            "price": money(seat["amount"], currency),
            "released": seat.get("released", False),
        }
        for seat in seats
    ]


def payment(
    *,
    id: str,
    provider: str,
    session_id: str | None,
    status: str,
    amount: int,
    currency: str,
    checkout_url: str | None,
    expires_at: datetime,
) -> Json:
    """An attempt to pay in the contract's shape."""
    return {
        "id": id,
        "provider": provider,
        "session_id": session_id,
        "status": shown(status),
        "amount": money(amount, currency),
        "checkout_url": checkout_url,
        "expires_at": stamp(expires_at),
    }


def _payment(row: Mapping[str, Any] | None) -> Json | None:
    if row is None:
        return None
    return payment(**{**row, "expires_at": datetime.fromisoformat(row["expires_at"])})


def _offer(row: Any) -> Json | None:
    """Other seats that are kept for late money until its buyer answers."""
    if row.offer is None:
        return None
    return {
        "seats": _seats(row.offer["seats"], row.currency),
        "total": money(row.total_amount, row.currency),
        "expires_at": stamp(datetime.fromisoformat(row.offer["expires_at"])),
        "server_now": stamp(row.now),
    }


def _sentence(row: Any) -> str:
    """A payload of a later release is not guessed at."""
    try:
        payload = upcast(row.event_type, row.schema_version, row.payload)
    except FromTheFuture:
        return f"{row.event_type}."
    return sentence(row.event_type, payload)
