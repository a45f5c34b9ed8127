"""A booking as its owner sees it, read from the rows that its commands wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain.payment_status import shown
from domain.upcasters import FromTheFuture, upcast
from infra.postgres.database import Session
from readmodel.pages import Place, page_of

Json = dict[str, Any]
EPOCH = datetime.fromtimestamp(0, UTC)

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


def microseconds(at: datetime) -> int:
    """Since 1970."""
    return (at - EPOCH) // timedelta(microseconds=1)


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


def stamp(at: datetime) -> str:
    """RFC 3339 in UTC with ``Z`` and milliseconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


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


SENTENCES = {
    "ReservationCreated": "The booking was made.",
    "SeatLocked": "Seats {labels} were held.",
    "HoldExtended": "The hold was extended to {hold_expires_at}.",
    "PaymentStarted": "A pay page was opened with {provider}.",
    "PaymentAuthorised": "The buyer's bank promised the money.",
    "PaymentVoided": "The promised money was let go; nothing was taken.",
    "VoidRequested": "The promised money is not wanted: {reason}.",
    "BookingConfirming": "The seats are final; the promised money is being taken.",
    "PaymentVerified": "The provider confirmed a payment.",
    "PaymentFailed": "A payment failed.",
    "CaptureRefused": "The authorised money could not be taken.",
    "BookingCalledOff": "The show is cancelled.",
    "BookingExpiring": "The hold is ending; the pay page is being closed.",
    "BookingCancelling": "The booking was cancelled; the pay page is being closed.",
    "BookingConfirmed": "The booking is confirmed; the seats are sold.",
    "BookingExpired": "The hold ended without a payment.",
    "BookingCancelled": "The booking was cancelled.",
    "SeatReleased": "Seats {labels} went back on sale.",
    "RefundRequested": "The money is going back: {reason}.",
    "RefundSettled": "The money was sent back.",
    "RefundReserved": "A refund was asked for.",
    "RefundAccepted": "The provider is sending the money back.",
    "RefundRetried": "The bank could not credit the refund; it is sent again.",
    "RefundFailed": "The refund failed.",
    "BookingRefunding": "The whole booking is being refunded.",
    "BookingRestored": "The booking stands again.",
    "BookingRefunded": "The booking was refunded; it holds no seat any more.",
    "DisputeOpened": "The buyer's bank disputes a payment.",
    "DisputeClosed": "The dispute ended: {outcome}.",
    "BookingDisputed": "The tickets stay valid until the dispute ends; no refunds meanwhile.",
    "BookingChargedBack": "The bank took the money back; the tickets are void.",
    "LatePaymentAccepted": "The payment came late; the seats could still be had.",
    "SeatsOffered": "The payment came late and its seats were gone; {labels} were offered.",
    "OfferDeclined": "The offered seats were declined.",
    "OfferLapsed": "Nobody answered the offer in time.",
    "LatePaymentRefunded": "A payment that came too late was sent back whole.",
    "NotificationQueued": "A message was queued: {template}.",
}


# Why a hold ended, by the reason that its event names. A cancellation says it in its note.
WHY = {
    "lapsed": "its time was up",
    "released": "the staff released it",
    "failed": "the payment failed",
}
ENDINGS = ("BookingExpiring", "BookingExpired", "BookingCancelling", "BookingCancelled")


class _Told(dict[str, Any]):
    def __missing__(self, name: str) -> str:
        """What an event does not say must not keep the others from being told."""
        return f"({name} is not on record)"


def _sentence(row: Any) -> str:
    """A payload of a later release is not guessed at."""
    try:
        payload = upcast(row.event_type, row.schema_version, row.payload)
    except FromTheFuture:
        return f"{row.event_type}."
    return sentence(row.event_type, payload)


def sentence(event_type: str, payload: Mapping[str, Any]) -> str:
    """What happened and, where the event says so, why."""
    told = SENTENCES.get(event_type)
    if told is None:
        return f"{event_type}."
    labels = payload.get("labels") or [seat["label"] for seat in payload.get("seats", [])]
    words = told.format_map(_Told(payload, labels=", ".join(labels)))
    if event_type == "HoldExtended" and payload.get("reason"):
        return f"{words} {payload['reason']}"
    return _with_why(words, payload) if event_type in ENDINGS else words


def _with_why(words: str, told: Mapping[str, Any]) -> str:
    if (why := WHY.get(told.get("why", ""))) is not None:
        words = f"{words.removesuffix('.')}: {why}."
    if told.get("note"):
        words = f"{words} {told['note']}"
    if told.get("payment_uncertain"):
        words = f"{words} Whether money is on its way is not known yet."
    return words
