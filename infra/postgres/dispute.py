"""Disputes: what a provider says of them, and the marks that follow from it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain import ids
from domain.dispute import Dispute, Return
from domain.ledger import Account
from domain.money import Money
from domain.payment import DisputeStatus, ProviderDispute
from infra.postgres.database import Session
from services.payment_rows import Receipt

# Under the booking's lock, so `before` is what was there. The amount is what was withdrawn when
# it opened; a dispute that is over stays as it ended.
RECORD = text("""
WITH before AS (
    SELECT status FROM disputes
    WHERE provider_payment_id = :payment_id AND reference = :reference
)
INSERT INTO disputes AS known (id, provider_payment_id, booking_id, reference, status, amount,
                               currency, opened_at, closed_at)
VALUES (:id, :payment_id, :booking_id, :reference, :status, :amount, :currency,
        CASE WHEN :status <> 'inquiry' THEN clock_timestamp() END,
        CASE WHEN :status IN ('won', 'lost') THEN clock_timestamp() END)
ON CONFLICT (provider_payment_id, reference) DO UPDATE SET status = excluded.status,
    amount = CASE WHEN known.status = 'inquiry' THEN excluded.amount ELSE known.amount END,
    opened_at = coalesce(known.opened_at, excluded.opened_at), closed_at = excluded.closed_at
WHERE known.status = 'inquiry' AND excluded.status <> 'inquiry'
   OR known.status = 'open' AND excluded.status IN ('won', 'lost')
RETURNING *, (SELECT status FROM before) AS before
""")

MARK_RECEIPT = text("""
UPDATE provider_payments SET disputed = EXISTS (
        SELECT FROM disputes WHERE provider_payment_id = :id AND status IN ('open', 'lost')
    ), updated_at = clock_timestamp()
WHERE id = :id
""")

MARK_PAYMENT = text("""
UPDATE payments SET disputed = EXISTS (
        SELECT FROM provider_payments
        WHERE booking_id = :booking_id AND payment_id = :id AND disputed
    ), updated_at = clock_timestamp()
WHERE id = :id
""")

OF_PAYMENT = text("""
SELECT id, reference, status, amount, currency FROM disputes
WHERE provider_payment_id = :id ORDER BY created_at, id
""")

BEAR = text("""
UPDATE disputes SET borne_by = :account WHERE id = :id AND status = 'lost' AND borne_by IS NULL
""")

RETURNS = text("""
SELECT id, number, status, amount, currency,
       status = 'pending' AND reference IS NOT NULL AS in_flight FROM refunds
WHERE provider_payment_id = :id ORDER BY created_at, id
""")


class PostgresDisputes:
    """See ``services.ports.Disputes``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def record(
        self, receipt: Receipt, told: ProviderDispute
    ) -> tuple[Dispute, DisputeStatus | None] | None:
        row = await self._session.one(
            RECORD,
            id=ids.dispute_id(receipt.id, told.reference),
            payment_id=receipt.id,
            booking_id=receipt.booking_id,
            reference=told.reference,
            status=told.status,
            amount=told.amount.amount,
            currency=told.amount.currency,
        )
        if row is None:
            return None
        self._session.later(MARK_RECEIPT, id=receipt.id)
        self._session.later(MARK_PAYMENT, id=receipt.payment_id, booking_id=receipt.booking_id)
        return _dispute(row), DisputeStatus(row.before) if row.before else None

    async def of_payment(self, receipt_id: UUID) -> list[Dispute]:
        return [_dispute(row) for row in await self._session.all(OF_PAYMENT, id=receipt_id)]

    async def bear(self, dispute_id: UUID, account: Account) -> bool:
        return await self._session.change(BEAR, id=dispute_id, account=account) == 1

    async def returns(self, receipt_id: UUID) -> list[Return]:
        return [
            Return(row.id, row.number, row.status, Money(row.amount, row.currency), row.in_flight)
            for row in await self._session.all(RETURNS, id=receipt_id)
        ]


def _dispute(row: Any) -> Dispute:
    return Dispute(
        row.id, row.reference, DisputeStatus(row.status), Money(row.amount, row.currency)
    )
