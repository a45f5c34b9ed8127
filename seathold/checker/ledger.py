"""M, the books in double entry: they balance, they stay, and they tell what the money rows tell."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from seathold.checker.world import World

# A refund is started, and a payment decided, within this time.
SETTLE = timedelta(seconds=60)

UNBALANCED = """
SELECT posting_id, currency, sum(debit) AS debit, sum(credit) AS credit FROM ledger_entries
GROUP BY posting_id, currency HAVING sum(debit) <> sum(credit)
"""
# tgtype: before (2) any delete (8), update (16) or truncate (32); enabled for everyone's sessions.
APPEND_ONLY = """
SELECT EXISTS (
    SELECT FROM pg_trigger
    WHERE tgrelid = 'ledger_entries'::regclass AND tgtype & 58 = 58 AND tgenabled IN ('O', 'A')
) AS guarded
"""
OF_NOTHING = """
SELECT DISTINCT posting_id, kind, entry.booking_id, entry.provider_payment_id
FROM ledger_entries AS entry
LEFT JOIN provider_payments AS paid ON paid.id = entry.provider_payment_id
LEFT JOIN bookings ON bookings.id = paid.booking_id
LEFT JOIN refunds ON refunds.id = entry.refund_id
WHERE (entry.booking_id, entry.show_id, entry.provider)
      IS DISTINCT FROM (paid.booking_id, bookings.show_id, paid.provider)
   OR (entry.refund_id IS NOT NULL
       AND refunds.provider_payment_id IS DISTINCT FROM entry.provider_payment_id)
"""
BY_PAYMENT = """
WITH posted AS (
    SELECT provider_payment_id AS id, currency,
           coalesce(sum(debit - credit) FILTER (
               WHERE account = 'provider' AND kind = 'captured'), 0) AS captured,
           coalesce(sum(debit - credit) FILTER (WHERE account = 'authorised'), 0) AS promised,
           coalesce(sum(credit - debit) FILTER (
               WHERE account = 'provider' AND kind IN ('refund_settled', 'refund_failed')), 0)
               AS refunded,
           coalesce(sum(credit - debit) FILTER (
               WHERE account = 'provider' AND kind = 'fee'), 0) AS fee
    FROM ledger_entries WHERE account IN ('provider', 'authorised')
    GROUP BY provider_payment_id, currency
), back AS (
    SELECT provider_payment_id AS id,
           coalesce(sum(amount) FILTER (WHERE status = 'succeeded'), 0) AS settled,
           coalesce(sum(amount) FILTER (WHERE status = 'pending'), 0) AS under_way
    FROM refunds GROUP BY provider_payment_id
), compared AS (
    SELECT paid.id, paid.currency, paid.captured, coalesce(posted.captured, 0) AS posted_captured,
           CASE paid.status WHEN 'authorised' THEN paid.amount ELSE 0 END AS promised,
           coalesce(posted.promised, 0) AS posted_promised, coalesce(settled, 0) AS settled,
           coalesce(posted.refunded, 0) AS posted_refunded,
           paid.fee, coalesce(posted.fee, 0) AS posted_fee,
           coalesce(under_way, 0) AS under_way, paid.refunded AS told, case_id, paid.updated_at
    FROM provider_payments AS paid
    JOIN bookings ON bookings.id = paid.booking_id
    LEFT JOIN posted ON posted.id = paid.id AND posted.currency = paid.currency
    LEFT JOIN back ON back.id = paid.id
)
SELECT * FROM compared
WHERE captured <> posted_captured OR promised <> posted_promised OR settled <> posted_refunded
   OR fee <> posted_fee
   OR (told > posted_refunded + under_way AND case_id IS NULL AND updated_at < %(settled_by)s)
"""
UNSETTLED = """
WITH stands AS (
    SELECT booking_id, currency, max(posted_at) AS last_at,
           coalesce(sum(credit - debit) FILTER (WHERE account IN ('buyer', 'authorised')), 0)
               AS undecided,
           coalesce(sum(credit - debit) FILTER (WHERE account = 'refunds_due'), 0) AS due
    FROM ledger_entries GROUP BY booking_id, currency
), sending AS (
    SELECT booking_id, currency, sum(amount) AS under_way FROM refunds
    WHERE status = 'pending' OR (status = 'failed' AND settled_at >= %(settled_by)s)
    GROUP BY booking_id, currency
), compared AS (
    SELECT booking_id, currency, coalesce(undecided, 0) AS undecided, coalesce(due, 0) AS due,
           coalesce(under_way, 0) AS under_way, coalesce(last_at, '-infinity') AS last_at
    FROM stands FULL JOIN sending USING (booking_id, currency)
)
SELECT compared.*, state FROM compared JOIN bookings ON bookings.id = booking_id
WHERE (undecided <> coalesce((
           SELECT sum(captured) FROM provider_payments AS paid JOIN seat_offers AS offer
           ON offer.provider_payment_id = paid.id AND offer.state = 'open'
           WHERE paid.booking_id = compared.booking_id AND paid.currency = compared.currency), 0)
       OR due <> under_way) AND last_at < %(settled_by)s AND case_id IS NULL
"""


def m7(world: World) -> Iterator[str]:
    """M7 Every posting balances in its currency and is there once; none can be rewritten."""
    yield from world.found(
        UNBALANCED, "posting {posting_id}: {debit} {currency} debit, {credit} credit"
    )
    yield from world.missing_index("ledger_entries", "posting_id", "account")
    if not world.rows(APPEND_ONLY)[0]["guarded"]:
        yield "no enabled trigger on ledger_entries refuses UPDATE, DELETE and TRUNCATE"


def m9(world: World) -> Iterator[str]:
    """M9 The ledger has each payment's promised, captured, refunded units and fee as its rows."""
    yield from world.found(
        OF_NOTHING,
        "posting {posting_id} ({kind}) of booking {booking_id}, payment {provider_payment_id},"
        " is of no such payment, show or refund",
    )
    yield from world.found(
        BY_PAYMENT,
        "payment {id} in {currency}: {captured} captured, the ledger has {posted_captured};"
        " {promised} promised, the ledger has {posted_promised};"
        " {settled} refunded ({told} by the provider), the ledger has {posted_refunded};"
        " a fee of {fee}, the ledger has {posted_fee}",
        settled_by=world.began - SETTLE,
    )


def m10(world: World) -> Iterator[str]:
    """M10 After 60 s no captured unit is undecided with no open offer, or due with no refund
    under way, unless a case is open.
    """
    yield from world.found(
        UNSETTLED,
        "booking {booking_id} ({state}): {undecided} {currency} undecided, {due} due,"
        " {under_way} under way",
        settled_by=world.began - SETTLE,
    )


CHECKS = (m7, m9, m10)
