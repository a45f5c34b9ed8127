"""What we have of payments and refunds, for the comparison with a provider's list."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from domain.limits import CASE_SECONDS, SLOW_REFUND_SECONDS
from domain.reconcile import Booked, BookedRefund
from infra.postgres.database import Database
from infra.postgres.payment import STANDS
from services.reconcile_books import Tally

WINDOW = text("""
SELECT clock_timestamp() AS now,
       (SELECT watermark FROM reconciliations WHERE provider = :provider) AS watermark
""")

BOOKED = text("""
SELECT paid.id, paid.booking_id, paid.reference, paid.status, paid.currency,
       paid.captured, paid.fee, paid.refunded AS told_refunded, paid.refunded_unasked AS unasked,
       paid.updated_at,
       paid.decision IS NOT NULL AS is_decided,
       (SELECT coalesce(sum(amount), 0)::bigint FROM refunds
        WHERE provider_payment_id = paid.id AND status = 'succeeded') AS settled,
       posted.captured AS posted_captured, posted.refunded AS posted_refunded,
       posted.fee AS posted_fee, ARRAY(
           SELECT ARRAY[disputes.reference, disputes.status] FROM disputes
           WHERE provider_payment_id = paid.id
       ) AS disputes
FROM provider_payments AS paid, LATERAL (
    SELECT coalesce(sum(debit - credit) FILTER (WHERE kind = 'captured'), 0)::bigint AS captured,
           coalesce(sum(credit - debit) FILTER (
               WHERE kind IN ('refund_settled', 'refund_failed')), 0)::bigint AS refunded,
           coalesce(sum(credit - debit) FILTER (WHERE kind = 'fee'), 0)::bigint AS fee
    FROM ledger_entries
    WHERE booking_id = paid.booking_id AND provider_payment_id = paid.id AND account = 'provider'
      AND currency = paid.currency
) AS posted
WHERE paid.provider = :provider AND paid.reference = ANY(CAST(:references AS text[]))
""")

# Waits for nobody: a page that was paid twice is recorded in one transaction, in an order of its
# own, and the two could wait for one another. What is passed over is asked for by the next run, and
# so is what has changed since it was read: the news may be that it has to be looked at again.
LOOKED_AT = text("""
UPDATE provider_payments SET reconciled_at = now() WHERE id IN (
    SELECT paid.id
    FROM unnest(CAST(:ids AS uuid[]), CAST(:seen AS timestamptz[])) AS read (id, seen)
    JOIN provider_payments AS paid ON paid.id = read.id AND paid.updated_at = read.seen
    WHERE paid.reconciled_at IS NULL
    FOR UPDATE OF paid SKIP LOCKED
)
""")

# A payment that no list has shown for minutes is asked for by its id.
NEVER_LISTED = text("""
SELECT reference FROM provider_payments
WHERE provider = :provider AND reconciled_at IS NULL
  AND created_at < now() - interval '5 minutes'
ORDER BY created_at LIMIT 100
""")
# Their payments may have been listed before the refund ended.
UNDER_WAY = text("""
SELECT DISTINCT reference FROM (
    SELECT paid.reference FROM refunds
    JOIN provider_payments AS paid ON paid.id = refunds.provider_payment_id
    WHERE refunds.status = 'pending' AND provider = :provider
      AND refunds.created_at < now() - interval '1 minute'
    ORDER BY refunds.created_at LIMIT 100
) AS oldest
""")
# A dispute ends, and an inquiry becomes one, weeks after its payment was listed. Drawn by lot, so
# that none waits behind others.
DISPUTED = text("""
SELECT paid.reference FROM disputes
JOIN provider_payments AS paid ON paid.id = disputes.provider_payment_id
WHERE disputes.status IN ('inquiry', 'open') AND provider = :provider
GROUP BY paid.reference ORDER BY random() LIMIT 100
""")

REFUNDS = text(f"""
SELECT id, booking_id, provider_payment_id, number, status, amount, currency, reference, failed,
       idempotency_key, {STANDS} AS stands
FROM refunds WHERE provider_payment_id = :id ORDER BY created_at
""")  # noqa: S608  # nosec B608
# While a dispute is open nothing is sent, and the dispute has its own case. Only one on request is
# asked for on: the provider has to say whether it was sent before.
OVERDUE = text("""
SELECT refunds.id, refunds.booking_id, refunds.provider_payment_id, number, refunds.status,
       refunds.amount, refunds.currency, refunds.reference, failed, idempotency_key
FROM refunds JOIN provider_payments AS paid ON paid.id = refunds.provider_payment_id
WHERE refunds.status = 'pending' AND provider = :provider
  AND (number IS NOT NULL OR NOT paid.disputed)
  AND refunds.created_at < now() - make_interval(
      secs => CASE WHEN refunds.reference IS NULL THEN CAST(:unheard AS float8)
                   ELSE CAST(:slow AS float8) END)
  AND NOT EXISTS (SELECT FROM cases WHERE dedupe = 'refund_overdue:' || refunds.id)
ORDER BY refunds.created_at LIMIT 100
""")

FINISH = text("""
INSERT INTO reconciliations AS known (provider, watermark, compared, repaired, left_over)
VALUES (:provider, :watermark, :compared, :repaired, :left_over)
ON CONFLICT (provider) DO UPDATE SET
    watermark = greatest(known.watermark, excluded.watermark), finished_at = clock_timestamp(),
    compared = excluded.compared, repaired = excluded.repaired, left_over = excluded.left_over
""")


class PostgresProviderBooks:
    """See ``services.reconcile.ProviderBooks``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def window(self, provider: str) -> tuple[datetime, datetime | None]:
        async with self._database.statements() as session:
            row = await session.one(WINDOW, provider=provider)
        assert row is not None, "it has no FROM"
        return row.now, row.watermark

    async def booked(self, provider: str, references: Sequence[str]) -> dict[str, Booked]:
        async with self._database.statements() as session:
            rows = await session.all(BOOKED, provider=provider, references=list(references))
        return {row.reference: Booked(**row._asdict()) for row in rows}

    async def looked_at(self, read: Sequence[Booked]) -> None:
        ids, seen = [one.id for one in read], [one.updated_at for one in read]
        async with self._database.statements() as session:
            await session.change(LOOKED_AT, ids=ids, seen=seen)

    async def suspects(self, provider: str) -> Sequence[str]:
        async with self._database.statements() as session:
            never = await session.all(NEVER_LISTED, provider=provider)
            under_way = await session.all(UNDER_WAY, provider=provider)
            disputed = await session.all(DISPUTED, provider=provider)
        return sorted({row.reference for row in (*never, *under_way, *disputed)})

    async def refunds(self, receipt_id: UUID) -> Sequence[BookedRefund]:
        async with self._database.statements() as session:
            rows = await session.all(REFUNDS, id=receipt_id)
        return [BookedRefund(**row._asdict()) for row in rows]

    async def overdue(self, provider: str) -> Sequence[BookedRefund]:
        async with self._database.statements() as session:
            rows = await session.all(
                OVERDUE, provider=provider, unheard=CASE_SECONDS, slow=SLOW_REFUND_SECONDS
            )
        return [BookedRefund(**row._asdict()) for row in rows]

    async def finish(self, provider: str, watermark: datetime, tally: Tally) -> None:
        async with self._database.statements() as session:
            await session.change(
                FINISH,
                provider=provider,
                watermark=watermark,
                compared=tally.compared,
                repaired=tally.repaired,
                left_over=tally.left,
            )
