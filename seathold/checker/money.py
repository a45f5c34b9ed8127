"""M: money, against the provider's own ledger. Ours may be wrong; theirs is what was paid."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from seathold.checker.report import MAX_EXAMPLES
from seathold.checker.world import Row, World, batches

PROVIDER = "sandbox"
# A refund is started, and a payment known, within this time of its last change.
SETTLE = timedelta(seconds=60)
LONGEST_AUTHORISATION = timedelta(hours=1)

# Of these payments: the ledger is gone through in parts, and so are our rows.
OURS = """
SELECT paid.reference, paid.id, paid.booking_id::text, paid.decision, paid.captured, paid.currency,
       state, total_amount, bookings.currency AS booking_currency,
       bookings.provider_payment_id = paid.id AS confirms,
       EXISTS (SELECT FROM cases
               WHERE cases.booking_id = bookings.id AND cases.status <> 'resolved') AS has_case,
       EXISTS (SELECT FROM seat_offers AS offer
               WHERE offer.provider_payment_id = paid.id AND offer.state = 'open') AS is_offered,
       coalesce((SELECT sum(amount) FROM refunds
                 WHERE provider_payment_id = paid.id
                   AND status = 'succeeded'), 0)::bigint AS refunded,
       coalesce((SELECT sum(amount) FROM disputes
                 WHERE provider_payment_id = paid.id
                   AND status = 'lost'), 0)::bigint AS charged_back,
       asked.*
FROM provider_payments AS paid JOIN bookings ON bookings.id = booking_id,
LATERAL (
    SELECT coalesce(sum(amount) FILTER (WHERE status <> 'failed'), 0)::bigint AS promised,
           coalesce(sum(amount) FILTER (WHERE status = 'succeeded' AND settled_at < %(began)s), 0)
               ::bigint AS paid_back,
           coalesce(bool_or(status = 'pending'), false) AS is_pending
    FROM refunds WHERE provider_payment_id = paid.id AND number IS NOT NULL
) AS asked
WHERE provider = %(provider)s AND reference = ANY(%(references)s)
"""
BOOKED = """
SELECT reference, paid.currency, captured,
       coalesce((SELECT sum(amount) FROM refunds
                 WHERE provider_payment_id = paid.id
                   AND status = 'succeeded'), 0)::bigint AS refunded,
       coalesce((SELECT sum(amount) FROM disputes
                 WHERE provider_payment_id = paid.id
                   AND status = 'lost'), 0)::bigint AS charged_back
FROM provider_payments AS paid JOIN bookings ON bookings.id = booking_id
WHERE provider = %(provider)s AND paid.created_at < %(began)s
"""
CONFIRMED = """
SELECT bookings.id::text, total_amount, bookings.currency, reference
FROM bookings LEFT JOIN provider_payments ON provider_payments.id = provider_payment_id
WHERE state = 'confirmed' AND total_amount > 0 AND bookings.updated_at < %(began)s
"""
REFUNDS = """
SELECT refunds.id, idempotency_key, refunds.amount, refunds.currency
FROM refunds JOIN provider_payments ON provider_payments.id = provider_payment_id
WHERE refunds.status = 'succeeded' AND provider = %(provider)s AND settled_at < %(began)s
"""
# What was promised to who asked for a refund, and the rows that keep the promise.
ASKED_OTHERWISE = """
WITH told AS (
    SELECT aggregate_id AS booking_id, (payload ->> 'number')::integer AS number,
           (payload ->> 'amount')::bigint AS amount
    FROM events WHERE event_type = 'RefundReserved'
), kept AS (
    SELECT booking_id, number, sum(amount)::bigint AS amount FROM refunds
    WHERE number IS NOT NULL GROUP BY booking_id, number
)
SELECT booking_id, number, told.amount AS promised, kept.amount AS kept
FROM told FULL JOIN kept USING (booking_id, number)
WHERE told.amount IS DISTINCT FROM kept.amount
"""
OVER_REFUNDED = """
SELECT paid.id, captured, sum(refunds.amount) AS refunded
FROM provider_payments AS paid JOIN refunds ON refunds.provider_payment_id = paid.id
WHERE refunds.status <> 'failed' GROUP BY paid.id HAVING sum(refunds.amount) > captured
"""
# A try more is made only when the provider named the one before it as failed.
TOO_MANY_TRIES = """
SELECT id, status, tries, cardinality(failed) AS failed FROM refunds
WHERE tries > 5 OR tries <> cardinality(failed)
"""
# Money of nobody's that a person looks at, by the page it was paid on.
BEING_LOOKED_AT = """
SELECT dedupe FROM cases WHERE kind = 'unknown_payment' AND status <> 'resolved'
"""
TWO_BOOKINGS = """
SELECT provider_payment_id, count(*) AS bookings FROM bookings
WHERE provider_payment_id IS NOT NULL GROUP BY provider_payment_id HAVING count(*) > 1
"""
ANOTHERS_PAYMENT = """
SELECT bookings.id, provider_payment_id, paid.booking_id FROM bookings
LEFT JOIN provider_payments AS paid ON paid.id = provider_payment_id
WHERE provider_payment_id IS NOT NULL AND paid.booking_id IS DISTINCT FROM bookings.id
"""
SAME_REFERENCE = """
SELECT provider, reference, count(*) AS rows FROM provider_payments
GROUP BY provider, reference HAVING count(*) > 1
"""
LATE_REQUEST = """
WITH left_hold AS (
    SELECT aggregate_id, min(sequence) AS sequence FROM events
    WHERE event_type IN ('BookingExpiring', 'BookingCancelling', 'BookingConfirmed',
                         'BookingExpired', 'BookingCancelled')
    GROUP BY aggregate_id
)
SELECT events.aggregate_id, events.payload ->> 'payment_id' AS payment_id
FROM events JOIN left_hold USING (aggregate_id)
WHERE event_type = 'PaymentStarted' AND events.sequence > left_hold.sequence
"""
OVER = """
SELECT id::text FROM bookings WHERE state NOT IN ('held', 'expiring', 'cancelling')
"""


@dataclass(frozen=True, slots=True)
class Paid:
    """One payment of the provider's ledger; ``pending`` is refunded money still on its way."""

    id: str
    session: str
    booking: str
    status: str
    currency: str
    captured: int
    refunded: int
    pending: int
    charged_back: int
    disputed: bool
    changed_at: datetime | None

    @property
    def kept(self) -> int:
        return self.captured - self.refunded - self.charged_back

    @property
    def goes_back(self) -> bool:
        return self.refunded + self.pending + self.charged_back == self.captured

    def is_older(self, than: timedelta, now: datetime) -> bool:
        return self.changed_at is None or now - self.changed_at > than


def m1(world: World) -> Iterator[str]:
    """M1 Every captured payment is the one of its confirmed booking, less what was refunded on
    request, or goes back whole, or is in dispute, or has an open case or offer; after 60 s.
    """
    cases = {row["dedupe"] for row in world.rows(BEING_LOOKED_AT)}
    for paid, row in _beside_ours(world, _ledger(world)):
        if f"unknown_payment:{PROVIDER}:{paid.session}:captured" in cases and row is None:
            continue
        if paid.captured <= 0 or not paid.is_older(SETTLE, world.began):
            continue
        if not (paid.goes_back or paid.disputed or _explained(paid, row)):
            yield (
                f"payment {paid.id} of {paid.captured} {paid.currency} for {paid.booking}:"
                f" {_known(row)}, {paid.refunded} refunded"
            )


def m2(world: World) -> Iterator[str]:
    """M2 Every confirmed booking that costs something has exactly one captured payment of its
    amount and currency, of which went back what was asked for and nothing else.
    """
    payments = defaultdict(list)
    for paid in _ledger(world):
        payments[paid.booking].append(paid)
    for bookings in batches(world.each(CONFIRMED, began=world.began)):
        paid_for = [paid for booking in bookings for paid in payments.get(booking["id"], ())]
        ours = _ours(world, paid_for)
        for booking in bookings:
            whole = [
                paid.id
                for paid in payments.get(booking["id"], ())
                if (paid.captured, paid.currency) == (booking["total_amount"], booking["currency"])
                and _kept_as_asked(paid, ours.get(paid.id))
                and (paid.id == booking["reference"] or paid.is_older(SETTLE, world.began))
            ]
            if whole != [booking["reference"]]:
                yield (
                    f"booking {booking['id']} of {booking['total_amount']} {booking['currency']}"
                    f" names payment {booking['reference']};"
                    f" the provider has {whole or 'none'} for it"
                )


def m3(world: World) -> Iterator[str]:
    """M3 No payment gives back more than it took; each refund had one effect at the provider,
    under whichever of its keys, and no more tries than it may have.
    """
    yield from world.found(
        TOO_MANY_TRIES, "refund {id} ({status}) was tried {tries} times; {failed} of them failed"
    )
    yield from world.found(
        ASKED_OTHERWISE,
        "refund {number} of booking {booking_id} promised {promised}, its rows say {kept}",
    )
    yield from world.found(
        OVER_REFUNDED, "provider payment {id} took {captured}, our refunds are {refunded}"
    )
    for paid in _ledger(world):
        if paid.kept - paid.pending < 0:
            yield f"payment {paid.id} took {paid.captured}, gave back {paid.captured - paid.kept}"
    effects: dict[str, list[Row]] = defaultdict(list)
    for refund in world.ledger.get("refunds", ()):
        if refund["status"] != "failed" and refund["idempotency_key"] is not None:
            effects[_refund_of(refund["idempotency_key"])].append(refund)
    for key, made in effects.items():
        if len(made) > 1:
            yield f"refund {key} had {len(made)} effects: {', '.join(one['id'] for one in made)}"
    for row in world.each(REFUNDS, provider=PROVIDER, began=world.began):
        sums = [
            (one["amount"], one["currency"]) for one in effects[_refund_of(row["idempotency_key"])]
        ]
        if (row["amount"], row["currency"]) not in sums:
            yield f"refund {row['id']} of {row['amount']} is no refund of the provider's: {sums}"


def m4(world: World) -> Iterator[str]:
    """M4 What the provider keeps per currency is what our books say, to the minor unit."""
    theirs = {paid.id: paid for paid in _ledger(world)}
    difference: Counter[str] = Counter()
    differ: dict[str, list[str]] = defaultdict(list)
    for paid, row in _beside_ours(world, theirs.values()):
        if paid.is_older(SETTLE, world.began):
            booked = _booked(row) if row else 0
            _compare(difference, differ, paid.currency, paid.id, paid.kept - booked)
            if row and row["currency"] != paid.currency:
                yield f"payment {paid.id} is {paid.currency} there, {row['currency']} here"
    for row in world.each(BOOKED, provider=PROVIDER, began=world.began):
        if row["reference"] not in theirs:
            _compare(difference, differ, row["currency"], row["reference"], -_booked(row))
    for currency, payments in differ.items():
        yield (
            f"the provider keeps {difference[currency]:+} {currency} against our books:"
            f" {', '.join(payments)}"
        )


def m5(world: World) -> Iterator[str]:
    """M5 A provider's payment belongs to one booking, by a unique index and by counting."""
    yield from world.missing_index("provider_payments", "provider", "reference")
    yield from world.missing_index("payments", "provider", "session_id")
    yield from world.found(SAME_REFERENCE, "{provider} payment {reference} has {rows} rows")
    yield from world.found(TWO_BOOKINGS, "payment {provider_payment_id} confirms {bookings}")
    yield from world.found(
        ANOTHERS_PAYMENT,
        "booking {id} is confirmed by {provider_payment_id}, which was paid for {booking_id}",
    )


def m6(world: World) -> Iterator[str]:
    """M6 We asked for no payment after the booking had left the hold."""
    yield from world.found(
        LATE_REQUEST, "booking {aggregate_id} asked for payment {payment_id} after its hold"
    )


def m8(world: World) -> Iterator[str]:
    """M8 No authorisation is open over an hour after its booking's end."""
    late = [
        paid
        for paid in _ledger(world)
        if paid.status == "authorised" and paid.is_older(LONGEST_AUTHORISATION, world.began)
    ]
    promised = {paid.booking for paid in late}
    over = {row["id"] for row in world.each(OVER) if row["id"] in promised} if late else set()
    for paid in late:
        if paid.booking in over:
            yield f"payment {paid.id} for {paid.booking} is authorised since {paid.changed_at}"


def _booked(row: Row) -> int:
    return int(row["captured"] - row["refunded"] - row["charged_back"])


def _explained(paid: Paid, row: Row | None) -> bool:
    """It is the one payment of its booking and seats or a refund explain it, or a human has a case.

    A booking without seats whose refund failed has none of these: a person must look.
    """
    if row is None or row["booking_id"] != paid.booking:
        return False
    if row["has_case"] or row["is_offered"]:
        return True
    exact = (paid.captured, paid.currency) == (row["total_amount"], row["booking_currency"])
    confirms = row["confirms"] and row["decision"] == "confirms"
    stands = row["state"] in ("confirmed", "refunded", "charged_back") or (
        row["state"] == "refund_pending" and row["is_pending"]
    )
    return bool(exact and confirms and stands and _kept_as_asked(paid, row))


def _kept_as_asked(paid: Paid, row: Row | None) -> bool:
    """Between what was promised back and what had gone back before the provider was asked."""
    if row is None:
        return paid.kept == paid.captured
    had = paid.captured - paid.charged_back
    least, most = had - row["promised"], had - row["paid_back"]
    return bool(paid.kept - paid.pending >= least and paid.kept <= most)


def _refund_of(key: str) -> str:
    """Each try of a refund has the key of the first, with its number behind a ``#``."""
    return key.partition("#")[0]


def _known(row: Row | None) -> str:
    if row is None:
        return "unknown to us"
    return f"{row['decision'] or 'undecided'} for booking {row['booking_id']} ({row['state']})"


def _compare(
    sums: Counter[str], differ: dict[str, list[str]], currency: str, payment: str, by: int
) -> None:
    if by:
        sums[currency] += by
        if len(differ[currency]) < MAX_EXAMPLES:
            differ[currency].append(f"{payment} {by:+}")


def _beside_ours(world: World, payments: Iterable[Paid]) -> Iterator[tuple[Paid, Row | None]]:
    """Each with our row of it."""
    for part in batches(payments):
        ours = _ours(world, part)
        for paid in part:
            yield paid, ours.get(paid.id)


def _ours(world: World, payments: Sequence[Paid]) -> dict[str, Row]:
    references = [paid.id for paid in payments]
    rows = world.rows(OURS, provider=PROVIDER, began=world.began, references=references)
    return {row["reference"]: row for row in rows}


def _ledger(world: World) -> Iterator[Paid]:
    pending: Counter[str] = Counter()
    for refund in world.ledger.get("refunds", ()):
        if refund["status"] == "pending":
            pending[refund["payment_id"]] += refund["amount"]
    for row in world.ledger["payments"]:
        yield _paid(row, pending[row["id"]])


def _paid(row: dict[str, Any], pending: int) -> Paid:
    changed_at = row.get("updated_at")
    return Paid(
        id=row["id"],
        session=row["session_id"],
        booking=row["reference"],
        status=row["status"],
        currency=row["currency"],
        captured=row["captured"],
        refunded=row["refunded"],
        pending=pending,
        charged_back=row.get("charged_back", 0),
        disputed=row.get("dispute") == "open",
        changed_at=datetime.fromisoformat(changed_at) if changed_at else None,
    )


CHECKS = (m1, m2, m3, m4, m5, m6, m8)
