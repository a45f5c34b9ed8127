"""C: cancelled shows. Nobody gets in any more, and nobody's money stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from seathold.checker.world import World

# A run that works starts or hears of a refund, or tells somebody, more often than that.
MOVES_WITHIN = timedelta(hours=3)
# It looks at least every five minutes for bookings that may be refunded by now.
SEEN_WITHIN = timedelta(minutes=30)

NEW_HOLDS = """
WITH cancelled AS (
    SELECT aggregate_id AS show_id, min(created_at) AS at FROM events
    WHERE event_type = 'ShowCancelled' GROUP BY aggregate_id
)
SELECT bookings.id, bookings.show_id, made.created_at, cancelled.at
FROM cancelled JOIN bookings ON bookings.show_id = cancelled.show_id
JOIN events AS made ON made.aggregate_id = bookings.id AND made.event_type = 'ReservationCreated'
WHERE made.created_at > cancelled.at
"""
STILL_SOLD = """
SELECT wanted.show_id, shows.status, told.events
FROM show_cancellations AS wanted JOIN shows ON shows.id = wanted.show_id
CROSS JOIN LATERAL (
    SELECT count(*) AS events FROM events
    WHERE aggregate_id = wanted.show_id AND event_type = 'ShowCancelled'
) AS told
WHERE shows.status <> 'cancelled' OR told.events <> 1
"""
# A case that is resolved explains only what it was opened for: paid another way, say.
NOT_OVER = """
SELECT bookings.id, bookings.state, bookings.show_id
FROM show_cancellations AS done JOIN bookings ON bookings.show_id = done.show_id
WHERE done.status = 'finished' AND (
    state IN ('held', 'expiring', 'cancelling')
    OR state IN ('confirmed', 'refund_pending', 'disputed') AND NOT EXISTS (
        SELECT FROM cases WHERE cases.booking_id = bookings.id AND (
            cases.status <> 'resolved' OR kind = 'show_cancel_left'
            OR kind = 'refund_failed' AND state = 'refund_pending')
    )
)
"""
MONEY_KEPT = """
WITH paid AS (
    SELECT booking_id, sum(captured) AS captured, sum(refunded_unasked) AS unasked
    FROM provider_payments WHERE decision IS NOT NULL GROUP BY booking_id
), back AS (
    SELECT booking_id, sum(amount) AS refunded FROM refunds
    WHERE status <> 'failed' OR EXISTS (
        SELECT FROM cases WHERE cases.refund_id = refunds.id AND kind = 'refund_failed'
    )
    GROUP BY booking_id
), lost AS (
    SELECT booking_id, sum(amount) AS lost FROM disputes WHERE status = 'lost' GROUP BY booking_id
), kept AS (
    SELECT booking_id, captured,
           unasked + coalesce(refunded, 0) + coalesce(lost, 0) AS returned
    FROM paid LEFT JOIN back USING (booking_id) LEFT JOIN lost USING (booking_id)
)
SELECT bookings.id, bookings.show_id, captured, returned
FROM show_cancellations AS done JOIN bookings ON bookings.show_id = done.show_id
JOIN events AS told ON told.aggregate_id = bookings.id AND told.event_type = 'BookingCalledOff'
JOIN kept ON kept.booking_id = bookings.id
WHERE done.status = 'finished' AND captured > returned AND NOT EXISTS (
    SELECT FROM cases WHERE cases.booking_id = bookings.id
      AND (cases.status <> 'resolved' OR kind = 'show_cancel_left')
)
"""
CANCELLED_AFTER_SALE = """
SELECT bookings.id, bookings.show_id
FROM events AS ended JOIN bookings ON bookings.id = ended.aggregate_id
WHERE ended.event_type = 'BookingCancelled' AND EXISTS (
    SELECT FROM events AS sold WHERE sold.aggregate_id = ended.aggregate_id
      AND sold.event_type = 'BookingConfirmed' AND sold.sequence < ended.sequence
) AND NOT (
    EXISTS (SELECT FROM show_cancellations WHERE show_id = bookings.show_id)
    AND EXISTS (
        SELECT FROM events AS told WHERE told.aggregate_id = ended.aggregate_id
          AND told.event_type = 'BookingCalledOff' AND told.sequence < ended.sequence
    )
)
"""
# A refund that was asked for before and is under way may still be withdrawn: the run waits for it.
FORGOTTEN = """
WITH going AS (
    SELECT show_id, greatest(requested_at, (
        SELECT max(at) FROM audit_log
        WHERE target = 'show:' || show_id AND action = 'show.cancel.resume'
    ), (
        SELECT max(told.created_at) FROM bookings JOIN events AS told ON aggregate_id = bookings.id
        WHERE bookings.show_id = wanted.show_id AND event_type = 'BookingCalledOff'
    ), (
        SELECT max(greatest(refunds.created_at, accepted_at, settled_at, short_at))
        FROM bookings JOIN refunds ON booking_id = bookings.id
        WHERE bookings.show_id = wanted.show_id AND number IS NOT NULL
    )) AS moved_at
    FROM show_cancellations AS wanted WHERE status = 'running'
)
SELECT bookings.id, going.show_id, moved_at FROM going JOIN bookings USING (show_id)
WHERE moved_at < %(moved_by)s AND state = 'confirmed' AND updated_at < %(seen_by)s
  AND NOT EXISTS (
      SELECT FROM refunds WHERE booking_id = bookings.id
        AND (reason = 'show_cancelled' OR number IS NOT NULL AND refunds.status = 'pending')
  )
  AND NOT EXISTS (
      SELECT FROM events WHERE aggregate_id = bookings.id AND event_type = 'BookingCalledOff'
  )
"""


def c1(world: World) -> Iterator[str]:
    """C1 Nobody begins to hold a seat of a show after it was cancelled; its sale is over."""
    yield from world.found(
        NEW_HOLDS, "booking {id} of show {show_id} began at {created_at}, cancelled at {at}"
    )
    yield from world.found(
        STILL_SOLD, "show {show_id} is {status}, it was cancelled in {events} events"
    )


def c2(world: World) -> Iterator[str]:
    """C2 A finished cancellation leaves no hold, and no sold booking whose money did not go back
    whole, unless a person has a case, or had one about just that.
    """
    yield from world.found(NOT_OVER, "booking {id} of cancelled show {show_id} is {state}")
    yield from world.found(
        MONEY_KEPT,
        "booking {id} of cancelled show {show_id} paid {captured}, got {returned} back",
    )


def c3(world: World) -> Iterator[str]:
    """C3 A booking that was confirmed is cancelled only with its show, and told so."""
    yield from world.found(
        CANCELLED_AFTER_SALE, "booking {id} of show {show_id} was confirmed, then cancelled"
    )


def c4(world: World) -> Iterator[str]:
    """C4 A cancellation that is neither finished nor paused reaches each sold booking, by a refund
    or a word to the buyer; none waits while nothing of it has moved for 3 h.
    """
    yield from world.found(
        FORGOTTEN,
        "booking {id} of cancelled show {show_id} has no refund and no word since {moved_at}",
        moved_by=world.began - MOVES_WITHIN,
        seen_by=world.began - SEEN_WITHIN,
    )


CHECKS = (c1, c2, c3, c4)
