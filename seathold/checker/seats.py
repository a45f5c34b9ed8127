"""S: seats. One seat, one holder, whatever happened."""

from __future__ import annotations

from collections.abc import Iterator

from seathold.checker.world import World

CONFIRMED_INTERVALS = """
WITH last AS (
    SELECT aggregate_id, max(sequence) AS sequence
    FROM events WHERE event_type = 'SeatLocked' GROUP BY aggregate_id
), locked AS (
    SELECT held.aggregate_id AS booking_id, made.payload ->> 'show_id' AS show_id,
           seat ->> 'label' AS label
    FROM events AS held JOIN last USING (aggregate_id, sequence)
    JOIN events AS made ON made.aggregate_id = held.aggregate_id
                       AND made.event_type = 'ReservationCreated'
    CROSS JOIN jsonb_array_elements(held.payload -> 'seats') AS seat
), confirmed AS (
    SELECT aggregate_id AS booking_id, min(created_at) AS since, min(sequence) AS sequence
    FROM events WHERE event_type = 'BookingConfirmed' GROUP BY aggregate_id
), released AS (
    SELECT booking_id, label, max(created_at) AS until
    FROM events JOIN confirmed ON booking_id = aggregate_id
    CROSS JOIN jsonb_array_elements_text(payload -> 'labels') AS label
    WHERE event_type = 'SeatReleased' AND events.sequence > confirmed.sequence
    GROUP BY booking_id, label
), placed AS (
    SELECT show_id, label, booking_id, since,
           max(coalesce(until, 'infinity')) OVER earlier AS taken_until,
           lag(booking_id) OVER (PARTITION BY show_id, label ORDER BY since, booking_id) AS other
    FROM locked JOIN confirmed USING (booking_id)
    LEFT JOIN released USING (booking_id, label)
    WINDOW earlier AS (PARTITION BY show_id, label ORDER BY since, booking_id
                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT * FROM placed WHERE taken_until > since
"""

CONFIRMED_TWICE = """
SELECT show_id, label, count(*) AS bookings, min(id::text) AS one
FROM bookings JOIN booking_seats ON booking_id = id
WHERE state IN ('confirmed', 'refund_pending', 'disputed', 'charged_back') AND released_at IS NULL
GROUP BY show_id, label HAVING count(*) > 1
"""

CLAIMED_TWICE = """
SELECT show_id, label, count(*) AS claims FROM seat_claims
GROUP BY show_id, label HAVING count(*) > 1
"""

WANTED_TWICE = """
SELECT show_id, label, count(*) AS bookings, string_agg(id::text, ', ' ORDER BY id) AS ids
FROM bookings JOIN booking_seats ON booking_id = id
WHERE state IN ('held', 'expiring', 'cancelling', 'confirmed', 'refund_pending', 'disputed',
                'charged_back')
  AND released_at IS NULL
GROUP BY show_id, label HAVING count(*) > 1
"""

CLAIM_WITHOUT_BOOKING = """
SELECT claim.show_id, claim.label, claim.state, claim.booking_id,
       coalesce(bookings.state, 'missing') AS booking_state
FROM seat_claims AS claim LEFT JOIN bookings ON bookings.id = claim.booking_id
LEFT JOIN booking_seats AS seat ON seat.booking_id = claim.booking_id AND seat.label = claim.label
LEFT JOIN (
    SELECT booking_id, offered ->> 'label' AS label
    FROM seat_offers CROSS JOIN jsonb_array_elements(seats) AS offered WHERE state = 'open'
) AS offer ON offer.booking_id = claim.booking_id AND offer.label = claim.label
WHERE CASE claim.state
    WHEN 'held' THEN (bookings.state IN ('held', 'expiring', 'cancelling')
                      OR bookings.state = 'expired' AND offer.label IS NOT NULL) IS NOT TRUE
    WHEN 'sold' THEN (bookings.state IN ('confirmed', 'refund_pending', 'disputed', 'charged_back'))
        IS NOT TRUE
    ELSE claim.booking_id IS NOT NULL END
  OR claim.state IN ('held', 'sold') AND offer.label IS NULL
     AND (seat.label IS NULL OR seat.released_at IS NOT NULL
          OR claim.show_id IS DISTINCT FROM bookings.show_id)
"""

BOOKING_WITHOUT_CLAIM = """
SELECT bookings.id, bookings.state, seat.label, coalesce(claim.state, 'missing') AS claim_state
FROM bookings JOIN booking_seats AS seat ON seat.booking_id = bookings.id
LEFT JOIN seat_claims AS claim ON claim.show_id = bookings.show_id AND claim.label = seat.label
WHERE bookings.state IN ('held', 'expiring', 'cancelling', 'confirmed', 'refund_pending',
                         'disputed', 'charged_back')
  AND seat.released_at IS NULL
  AND (claim.booking_id IS DISTINCT FROM bookings.id
       OR claim.state <> CASE WHEN bookings.state
           IN ('confirmed', 'refund_pending', 'disputed', 'charged_back')
           THEN 'sold' ELSE 'held' END)
"""

CAPACITY = """
WITH claimed AS (
    SELECT show_id, count(*) FILTER (WHERE state = 'held') AS held,
           count(*) FILTER (WHERE state = 'sold') AS sold,
           count(*) FILTER (WHERE state = 'blocked') AS blocked
    FROM seat_claims GROUP BY show_id
), offered AS (
    SELECT shows.id AS show_id, capacity, count(seats.label) AS seats,
           count(seats.label) FILTER (WHERE coalesce(claim.state, 'free') = 'free') AS available
    FROM shows JOIN seat_maps ON seat_maps.id = shows.seat_map_id
    LEFT JOIN seats ON seats.seat_map_id = shows.seat_map_id
    LEFT JOIN seat_claims AS claim ON claim.show_id = shows.id AND claim.label = seats.label
    GROUP BY shows.id, capacity
), counted AS (
    SELECT show_id, capacity, seats, available, coalesce(held, 0) AS held,
           coalesce(sold, 0) AS sold, coalesce(blocked, 0) AS blocked
    FROM offered LEFT JOIN claimed USING (show_id)
)
SELECT * FROM counted WHERE available + held + sold + blocked <> capacity OR seats <> capacity
"""

CLAIM_WITHOUT_SEAT = """
SELECT claim.show_id, claim.label
FROM seat_claims AS claim JOIN shows ON shows.id = claim.show_id
LEFT JOIN seats ON seats.seat_map_id = shows.seat_map_id AND seats.label = claim.label
WHERE seats.label IS NULL
"""

ALL_OR_NOTHING = """
WITH claimed AS (
    SELECT booking_id, count(*) AS claims FROM seat_claims
    WHERE booking_id IS NOT NULL GROUP BY booking_id
), seated AS (
    SELECT booking_id, count(*) AS seats FROM booking_seats WHERE released_at IS NULL
    GROUP BY booking_id
), counted AS (
    SELECT id, state, seat_count, coalesce(claims, 0) AS claims, coalesce(seats, 0) AS seats
    FROM bookings LEFT JOIN claimed ON claimed.booking_id = id
    LEFT JOIN seated ON seated.booking_id = id
)
SELECT * FROM counted WHERE seats <> seat_count OR claims <> CASE
    WHEN state IN ('held', 'expiring', 'cancelling', 'confirmed', 'refund_pending', 'disputed',
                   'charged_back')
      OR state = 'expired' AND EXISTS (
          SELECT FROM seat_offers AS offer WHERE offer.booking_id = id AND offer.state = 'open'
      )
    THEN seat_count ELSE 0 END
"""

# A seat that was sold goes back on sale once: by a refund that was accepted or a dispute that was
# lost, and with its event.
# The end of a booking without money gives up all seats by itself.
GIVEN_UP = """
WITH said AS (
    SELECT aggregate_id AS booking_id, label, 'told' AS by FROM events
    CROSS JOIN jsonb_array_elements_text(payload -> 'labels') AS label
    WHERE event_type = 'SeatReleased' AND EXISTS (
        SELECT FROM events AS sold
        WHERE sold.aggregate_id = events.aggregate_id AND sold.event_type = 'BookingConfirmed'
          AND sold.sequence < events.sequence
    ) AND NOT EXISTS (
        SELECT FROM events AS over
        WHERE over.aggregate_id = events.aggregate_id AND over.event_type = 'BookingCancelled'
          AND over.sequence < events.sequence
    )
    UNION ALL
    SELECT booking_id, unnest(seats), 'refunded' FROM refunds WHERE accepted_at IS NOT NULL
    UNION ALL
    SELECT aggregate_id, label, 'refunded' FROM events
    CROSS JOIN jsonb_array_elements_text(payload -> 'labels') AS label
    WHERE event_type = 'BookingChargedBack'
    UNION ALL
    SELECT booking_id, label, 'released' FROM booking_seats WHERE released_at IS NOT NULL
)
SELECT booking_id, label, count(*) FILTER (WHERE by = 'told') AS told,
       count(*) FILTER (WHERE by = 'refunded') AS refunded,
       count(*) FILTER (WHERE by = 'released') AS released
FROM said GROUP BY booking_id, label
HAVING count(DISTINCT by) <> 3 OR count(*) <> 3
"""

# Freeing a seat raises its fence too, so only the last holder's own claim carries his.
FENCES = """
WITH locked AS (
    -- An accepted offer names the fences a second time.
    SELECT min(held.id) AS id, held.aggregate_id AS booking_id,
           made.payload ->> 'show_id' AS show_id, seat ->> 'label' AS label,
           (seat ->> 'fence')::bigint AS fence
    FROM events AS held
    JOIN events AS made ON made.aggregate_id = held.aggregate_id
                       AND made.event_type = 'ReservationCreated'
    CROSS JOIN jsonb_array_elements(held.payload -> 'seats') AS seat
    WHERE held.event_type IN ('SeatLocked', 'SeatsOffered')
    GROUP BY 2, 3, 4, 5
), ordered AS (
    SELECT *, lag(fence) OVER (PARTITION BY show_id, label ORDER BY id) AS before,
           row_number() OVER (PARTITION BY show_id, label ORDER BY id DESC) AS back
    FROM locked
)
SELECT ordered.*, coalesce(claim.fence, 0) AS claim_fence
FROM ordered LEFT JOIN seat_claims AS claim
  ON claim.show_id = ordered.show_id::uuid AND claim.label = ordered.label
WHERE ordered.fence IS NULL OR before >= ordered.fence
   OR back = 1 AND CASE WHEN claim.booking_id = ordered.booking_id
       THEN claim.fence <> ordered.fence ELSE coalesce(claim.fence, 0) <= ordered.fence END
"""


def s1(world: World) -> Iterator[str]:
    """S1 Over the whole history, confirmed intervals of one seat never overlap."""
    yield from world.found(
        CONFIRMED_INTERVALS,
        "seat {label} of show {show_id}: booking {booking_id} was confirmed at {since} while"
        " {other} had it",
    )
    yield from world.found(
        CONFIRMED_TWICE,
        "seat {label} of show {show_id} is in {bookings} confirmed bookings ({one})",
    )


def s2(world: World) -> Iterator[str]:
    """S2 At most one active claim per seat; its unique index exists and is valid."""
    yield from world.missing_index("seat_claims", "show_id", "label")
    # Not through an index: the one that is to be judged may be the one that lies.
    with world.snapshot.transaction(force_rollback=True):
        world.snapshot.execute("SET LOCAL enable_indexscan = off")
        world.snapshot.execute("SET LOCAL enable_indexonlyscan = off")
        world.snapshot.execute("SET LOCAL enable_bitmapscan = off")
        yield from world.found(CLAIMED_TWICE, "seat {label} of show {show_id} has {claims} claims")
    yield from world.found(
        WANTED_TWICE, "seat {label} of show {show_id} is in {bookings} active bookings: {ids}"
    )


def s3(world: World) -> Iterator[str]:
    """S3 A seat is held, sold or free as its booking or its offer says, with the same holder."""
    yield from world.found(
        CLAIM_WITHOUT_BOOKING,
        "seat {label} of show {show_id} is {state} for booking {booking_id}, which is"
        " {booking_state} or has no such seat",
    )
    yield from world.found(
        BOOKING_WITHOUT_CLAIM, "booking {id} is {state}, its claim on {label} is {claim_state}"
    )


def s4(world: World) -> Iterator[str]:
    """S4 Available + held + sold + blocked = capacity, and every claim is on a seat of the map."""
    yield from world.found(
        CAPACITY,
        "show {show_id}: {available} available + {held} held + {sold} sold + {blocked} blocked"
        " of {seats} seats, capacity {capacity}",
    )
    yield from world.found(CLAIM_WITHOUT_SEAT, "show {show_id} has a claim on no seat: {label}")


def s5(world: World) -> Iterator[str]:
    """S5 A booking of n seats has n claims while it is active or has an open offer, else none."""
    yield from world.found(
        ALL_OR_NOTHING,
        "booking {id} is {state} with {claims} claims and {seats} seats of {seat_count}",
    )
    yield from world.found(
        GIVEN_UP,
        "seat {label} of booking {booking_id} was given up in {told} events, {refunded} refunds"
        " and {released} rows",
    )


def s6(world: World) -> Iterator[str]:
    """S6 The fence of a seat strictly increases, and no claim carries an older one."""
    yield from world.found(
        FENCES,
        "seat {label} of show {show_id}: booking {booking_id} got fence {fence} (before: {before},"
        " claim now: {claim_fence})",
    )


CHECKS = (s1, s2, s3, s4, s5, s6)
