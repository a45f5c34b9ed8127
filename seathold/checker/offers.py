"""S9 and L8: seats on offer for late money are kept whole, and never for long."""

from __future__ import annotations

from collections.abc import Iterator

from seathold.checker.world import World

# An open offer is of an expired booking and an undecided payment of it; an ended one is of money
# that was decided with it.
UNKEPT = """
SELECT offer.provider_payment_id, offer.state, bookings.id, bookings.state AS booking_state,
       coalesce(decision, 'undecided') AS decision, jsonb_array_length(seats) AS offered,
       seat_count, claims
FROM seat_offers AS offer
JOIN provider_payments AS paid ON paid.id = provider_payment_id
JOIN bookings ON bookings.id = offer.booking_id,
LATERAL (
    SELECT count(*) AS claims FROM jsonb_array_elements(seats) AS seat
    JOIN seat_claims AS claim
      ON claim.show_id = bookings.show_id AND claim.label = seat ->> 'label'
     AND claim.booking_id = bookings.id AND claim.fence = (seat ->> 'fence')::bigint
     AND claim.state = 'held'
) AS kept
WHERE paid.booking_id <> offer.booking_id
   OR CASE offer.state
       WHEN 'open' THEN claims <> jsonb_array_length(seats) OR claims <> seat_count
                     OR bookings.state <> 'expired' OR decision IS NOT NULL
       WHEN 'accepted' THEN claims > 0 OR decision IS DISTINCT FROM 'confirms'
       ELSE claims > 0 OR decision IS DISTINCT FROM 'late' END
"""
DEARER = """
SELECT seat_offers.provider_payment_id, offered, total_amount FROM seat_offers
JOIN bookings ON bookings.id = booking_id,
LATERAL (
    SELECT sum((seat ->> 'amount')::bigint) AS offered FROM jsonb_array_elements(seats) AS seat
) AS prices
WHERE offered IS DISTINCT FROM total_amount
"""
OVERDUE = """
SELECT provider_payment_id, booking_id, expires_at FROM seat_offers
WHERE state = 'open' AND expires_at < now() - make_interval(secs => %(grace)s)
"""


def s9(world: World) -> Iterator[str]:
    """S9 An open offer has all its claims at the price that was paid; one that ended has none."""
    yield from world.found(
        UNKEPT,
        "offer for {provider_payment_id} is {state} with {claims} claims of {offered} seats;"
        " booking {id} of {seat_count} is {booking_state}, the payment {decision}",
    )
    yield from world.found(
        DEARER, "offer for {provider_payment_id} costs {offered}, {total_amount} was paid"
    )


def l8(world: World) -> Iterator[str]:
    """L8 Every offer ends: none is open past its time and the grace."""
    yield from world.found(
        OVERDUE,
        "offer for {provider_payment_id} of booking {booking_id} ended at {expires_at}, is open",
        grace=world.inputs.hold_grace_seconds,
    )


CHECKS = (s9, l8)
