"""S7 and S8: what seats cost, and how many one person may have."""

from __future__ import annotations

from collections.abc import Iterator

from seathold.checker.world import World

TOTALS = """
SELECT bookings.id, total_amount, bookings.currency, shows.currency AS show_currency,
       coalesce(sum(amount), 0) AS prices
FROM bookings JOIN shows ON shows.id = show_id LEFT JOIN booking_seats ON booking_id = bookings.id
GROUP BY bookings.id, shows.currency
HAVING total_amount <> coalesce(sum(amount), 0) OR bookings.currency <> shows.currency
    OR bool_or(amount < 0)
"""

PRICES_AT_HOLD = """
WITH held AS (
    SELECT aggregate_id AS booking_id, seat ->> 'label' AS label,
           (seat ->> 'amount')::numeric AS amount, seat ->> 'price_class' AS price_class,
           seat ->> 'ticket_type' AS ticket_type
    FROM events CROSS JOIN jsonb_array_elements(payload -> 'seats') AS seat
    WHERE event_type = 'SeatLocked' AND NOT EXISTS (
        SELECT FROM events AS later
        WHERE later.aggregate_id = events.aggregate_id AND later.event_type = 'SeatLocked'
          AND later.sequence > events.sequence
    )
)
SELECT booking_id, label, held.amount AS then, seat.amount AS now
FROM held FULL JOIN booking_seats AS seat USING (booking_id, label)
WHERE (held.amount, held.price_class, held.ticket_type)
    IS DISTINCT FROM (seat.amount::numeric, seat.price_class, seat.ticket_type)
"""

ATTEMPT_NOT_TOTAL = """
SELECT payments.id, booking_id, amount, payments.currency, total_amount
FROM payments JOIN bookings ON bookings.id = booking_id
WHERE (amount, payments.currency) <> (total_amount, bookings.currency)
"""

# An end sorts before a beginning of the same instant: the one may have made room for the other.
CAPS = """
WITH lives AS (
    SELECT aggregate_id AS booking_id,
           max(payload ->> 'user_id') FILTER (WHERE event_type = 'ReservationCreated') AS user_id,
           max(payload ->> 'show_id') FILTER (WHERE event_type = 'ReservationCreated') AS show_id,
           max(jsonb_array_length(payload -> 'seats'))
               FILTER (WHERE event_type = 'SeatLocked') AS seats,
           min(created_at) FILTER (WHERE event_type = 'ReservationCreated') AS since,
           min(created_at) FILTER (WHERE event_type = 'BookingConfirmed') AS confirmed,
           min(created_at) FILTER (WHERE event_type = 'LatePaymentAccepted') AS reinstated,
           min(created_at)
               FILTER (WHERE event_type IN ('BookingExpired', 'BookingCancelled')) AS closed,
           CASE WHEN bool_or(event_type = 'PaymentStarted') THEN 'infinity'
                ELSE max((payload ->> 'hold_expires_at')::timestamptz) END AS lapses
    FROM events GROUP BY aggregate_id
    HAVING bool_or(event_type = 'ReservationCreated')
), given_up AS (
    SELECT user_id, show_id, created_at AS at, jsonb_array_length(payload -> 'labels') AS seats
    FROM events JOIN lives ON booking_id = aggregate_id
    WHERE event_type = 'SeatReleased' AND created_at > confirmed
), steps AS (
    SELECT 'live holds' AS what, user_id, NULL AS show_id, since AS at, 1 AS step FROM lives
    UNION ALL
    SELECT 'live holds', user_id, NULL, least(confirmed, closed, lapses), -1 FROM lives
    UNION ALL
    SELECT 'seats of the show', user_id, show_id, since, seats FROM lives
    UNION ALL
    SELECT 'seats of the show', user_id, show_id,
           CASE WHEN confirmed IS NULL OR reinstated IS NOT NULL THEN least(closed, lapses)
                ELSE 'infinity' END, -seats
    FROM lives
    UNION ALL
    SELECT 'seats of the show', user_id, show_id, reinstated, seats FROM lives
    WHERE reinstated IS NOT NULL
    UNION ALL
    SELECT 'seats of the show', user_id, show_id, at, -seats FROM given_up
), counted AS (
    SELECT *, sum(step) OVER (PARTITION BY what, user_id, show_id ORDER BY at, step
                              ROWS UNBOUNDED PRECEDING) AS had
    FROM steps
)
SELECT user_id, max(had) AS had, what, coalesce(show_id, 'any') AS show_id, min(at) AS at
FROM counted
WHERE step > 0 AND had > CASE what WHEN 'live holds' THEN %(live_holds)s ELSE %(seats)s END
GROUP BY user_id, what, show_id
UNION ALL
SELECT user_id, seats, 'seats in one booking', show_id, since FROM lives
WHERE seats > %(booking_seats)s
"""


def s7(world: World) -> Iterator[str]:
    """S7 A total is the sum of the prices recorded at hold time, in one currency."""
    yield from world.found(
        TOTALS,
        "booking {id} costs {total_amount} {currency}, its seats {prices} {show_currency}",
    )
    yield from world.found(
        PRICES_AT_HOLD, "booking {booking_id}: {label} was held at {then}, is now at {now}"
    )
    yield from world.found(
        ATTEMPT_NOT_TOTAL,
        "payment {id} asks {amount} {currency} for booking {booking_id} of {total_amount}",
    )


def s8(world: World) -> Iterator[str]:
    """S8 No user exceeded the caps on seats and live holds at any instant."""
    yield from world.found(
        CAPS,
        "user {user_id} had {had} {what} (show {show_id}, first at {at})",
        booking_seats=world.inputs.max_seats_per_booking,
        seats=world.inputs.max_seats_per_user_show,
        live_holds=world.inputs.max_live_holds_per_user,
    )


CHECKS = (s7, s8)
