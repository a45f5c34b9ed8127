"""M, authorised money: it is being taken for the one booking whose seats are final, or let go."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from seathold.checker.world import World

# A promise is judged within this time of its last change.
SETTLE = timedelta(seconds=60)
# A provider that does not say for so long whether it took the money is a person's business.
LONGEST_CAPTURE = timedelta(minutes=15)

UNJUDGED = """
SELECT paid.id, booking_id, state FROM provider_payments AS paid
JOIN bookings ON bookings.id = booking_id
WHERE status = 'authorised' AND decision IS NULL AND paid.updated_at < %(settled_by)s
  AND (state = 'held' AND confirming_payment_id = paid.id) IS NOT TRUE
"""
CONFIRMING_WRONGLY = """
SELECT bookings.id, confirming_payment_id, paid.status, paid.decision, total_amount,
       bookings.currency, paid.amount, paid.currency AS paid_currency
FROM bookings LEFT JOIN provider_payments AS paid ON paid.id = confirming_payment_id
WHERE state = 'held' AND confirming_payment_id IS NOT NULL
  AND (NOT lapses AND paid.booking_id = bookings.id AND paid.amount = total_amount
       AND paid.currency = bookings.currency AND paid.decision IS NULL
       AND (paid.status IN ('authorised', 'captured') OR paid.updated_at >= %(settled_by)s))
      IS NOT TRUE
"""
STUCK = """
SELECT id, confirming_payment_id, since FROM bookings
JOIN LATERAL (
    SELECT max(created_at) AS since FROM events
    WHERE aggregate_id = bookings.id AND event_type = 'BookingConfirming'
) AS told ON true
WHERE state = 'held' AND confirming_payment_id IS NOT NULL AND case_id IS NULL
  AND coalesce(since, '-infinity') < %(begun_by)s
"""


def m11(world: World) -> Iterator[str]:
    """M11 Authorised money is judged within 60 s; seats are final only for such money of their
    booking and its exact sum, and no longer than 15 minutes unless a case is open.
    """
    settled_by = world.began - SETTLE
    yield from world.found(
        UNJUDGED,
        "payment {id} is authorised, nobody judged it; its booking {booking_id} is {state}",
        settled_by=settled_by,
    )
    yield from world.found(
        CONFIRMING_WRONGLY,
        "booking {id} of {total_amount} {currency} is confirmed by {confirming_payment_id}:"
        " {status}, {decision}, {amount} {paid_currency}",
        settled_by=settled_by,
    )
    yield from world.found(
        STUCK,
        "booking {id} waits since {since} for {confirming_payment_id} to be taken",
        begun_by=world.began - LONGEST_CAPTURE,
    )


CHECKS = (m11,)
