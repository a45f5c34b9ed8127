"""D: disputes. The bank has the money meanwhile; nothing of it goes back a second time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from seathold.checker.world import World

PROVIDER = "sandbox"
# A dispute is known, and acted on, within this time.
SETTLE = timedelta(seconds=60)

# When it was lost, the window never closes again.
SENT_MEANWHILE = """
SELECT refunds.id, disputes.reference, coalesce(accepted_at, refunds.created_at) AS sent_at
FROM refunds JOIN disputes USING (provider_payment_id)
WHERE refunds.status <> 'failed' AND (accepted_at IS NOT NULL OR refunds.status = 'succeeded')
  AND coalesce(accepted_at, refunds.created_at) > opened_at + interval '60 seconds'
  AND coalesce(accepted_at, settled_at)
      < CASE WHEN disputes.status = 'won' THEN closed_at ELSE 'infinity' END
"""
MARKED_OTHERWISE = """
WITH stands AS (
    SELECT paid.id, paid.payment_id, paid.disputed, EXISTS (
        SELECT FROM disputes
        WHERE provider_payment_id = paid.id AND disputes.status IN ('open', 'lost')
    ) AS is_so
    FROM provider_payments AS paid
)
SELECT 'provider payment' AS what, id, disputed AS marked FROM stands WHERE disputed <> is_so
UNION ALL
SELECT 'payment', payments.id, payments.disputed FROM payments
LEFT JOIN stands ON payment_id = payments.id
GROUP BY payments.id, payments.disputed
HAVING payments.disputed <> coalesce(bool_or(is_so), false)
"""
# A confirmed booking whose money went back before its dispute has a case, and so has any other.
FOLLOWS_OTHERWISE = """
WITH confirming AS (
    SELECT bookings.id, state, case_id,
           coalesce(bool_or(disputes.status = 'open'), false) AS is_open,
           coalesce(bool_or(disputes.status = 'lost'), false) AS is_lost
    FROM bookings LEFT JOIN disputes ON disputes.provider_payment_id = bookings.provider_payment_id
    GROUP BY bookings.id
)
SELECT * FROM confirming
WHERE state = 'disputed' AND (is_lost OR NOT is_open)
   OR state = 'charged_back' AND NOT is_lost
   OR state = 'confirmed' AND (is_open OR is_lost) AND case_id IS NULL
"""
KEPT_FROM_SALE = """
SELECT bookings.id, count(*) AS seats FROM bookings
JOIN shows ON shows.id = bookings.show_id
JOIN booking_seats ON booking_seats.booking_id = bookings.id AND released_at IS NULL
JOIN events ON aggregate_id = bookings.id AND event_type = 'BookingChargedBack'
WHERE state = 'charged_back' AND events.created_at < starts_at
GROUP BY bookings.id
"""
# What was lost of money that nobody has decided about yet is still written as disputed.
BOOKED_OTHERWISE = """
WITH told AS (
    SELECT provider_payment_id AS id, disputes.currency,
           coalesce(sum(disputes.amount) FILTER (WHERE disputes.status = 'open'
               OR disputes.status = 'lost' AND borne_by IS NULL), 0) AS withdrawn,
           coalesce(sum(disputes.amount) FILTER (WHERE borne_by IS NOT NULL), 0) AS lost
    FROM disputes GROUP BY provider_payment_id, disputes.currency
), posted AS (
    SELECT provider_payment_id AS id, currency, sum(debit - credit) AS withdrawn,
           coalesce(sum(credit) FILTER (WHERE kind = 'dispute_lost'), 0) AS lost
    FROM ledger_entries WHERE account = 'disputed' GROUP BY provider_payment_id, currency
), compared AS (
    SELECT id, currency, coalesce(told.withdrawn, 0) AS withdrawn, coalesce(told.lost, 0) AS lost,
           coalesce(posted.withdrawn, 0) AS posted_withdrawn,
           coalesce(posted.lost, 0) AS posted_lost
    FROM told FULL JOIN posted USING (id, currency)
)
SELECT * FROM compared WHERE withdrawn <> posted_withdrawn OR lost <> posted_lost
"""
OURS = """
SELECT disputes.reference, disputes.status, disputes.amount, disputes.currency
FROM disputes JOIN provider_payments AS paid ON paid.id = provider_payment_id
WHERE provider = %(provider)s
"""


def d1(world: World) -> Iterator[str]:
    """D1 Nothing of a payment is sent back while a dispute of it is open, or once it is lost."""
    yield from world.found(
        SENT_MEANWHILE, "refund {id} was sent at {sent_at}, in the time of dispute {reference}"
    )


def d2(world: World) -> Iterator[str]:
    """D2 A booking follows the disputes of its payment: disputed, charged back, or as before; what
    is lost before the show goes back on sale.
    """
    yield from world.found(
        MARKED_OTHERWISE, "{what} {id}: disputed is {marked}, its disputes differ"
    )
    yield from world.found(
        FOLLOWS_OTHERWISE, "booking {id} is {state}; a dispute open: {is_open}, lost: {is_lost}"
    )
    yield from world.found(
        KEPT_FROM_SALE, "booking {id} was charged back before its show and keeps {seats} seats"
    )


def d3(world: World) -> Iterator[str]:
    """D3 The ledger has as disputed and as lost what the disputes say, to the unit."""
    yield from world.found(
        BOOKED_OTHERWISE,
        "payment {id} in {currency}: {withdrawn} withdrawn and {lost} lost, the ledger has"
        " {posted_withdrawn} and {posted_lost}",
    )


def d4(world: World) -> Iterator[str]:
    """D4 Every dispute of the provider's is on record as it stands there, within 60 s."""
    ours = {
        row["reference"]: (row["status"], row["amount"], row["currency"])
        for row in world.each(OURS, provider=PROVIDER)
    }
    theirs = set()
    for paid in world.ledger["payments"]:
        changed_at = datetime.fromisoformat(paid["updated_at"]) if paid.get("updated_at") else None
        for one in paid.get("disputes", ()):
            theirs.add(one["id"])
            if changed_at is not None and world.began - changed_at <= SETTLE:
                continue
            said = (one["status"], one["amount"], one["currency"])
            if ours.get(one["id"]) != said:
                yield f"dispute {one['id']} is {said} there, {ours.get(one['id'])} here"
    for reference in ours.keys() - theirs:
        yield f"dispute {reference} is none of the provider's"


CHECKS = (d1, d2, d3, d4)
