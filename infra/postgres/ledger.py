"""The ledger's rows: appended, added up, never changed."""

from __future__ import annotations

from collections import defaultdict
from uuid import UUID

from sqlalchemy import text

from domain.ledger import Account, Balance, Posting
from infra.postgres.database import Session

POST = text("""
INSERT INTO ledger_entries (posting_id, kind, booking_id, show_id, provider, provider_payment_id,
                            refund_id, account, debit, credit, currency)
VALUES (:id, :kind, :booking_id, :show_id, :provider, :payment_id, :refund_id, :debit, :amount, 0,
        :currency),
       (:id, :kind, :booking_id, :show_id, :provider, :payment_id, :refund_id, :credit, 0, :amount,
        :currency)
ON CONFLICT (posting_id, account) DO NOTHING
""")
# Refunds under way come as a row of their own, without an account.
BALANCES = text("""
SELECT currency, account, (sum(debit) - sum(credit))::bigint AS amount
FROM ledger_entries WHERE booking_id = :booking_id GROUP BY currency, account
UNION ALL
SELECT currency, NULL, sum(amount)::bigint
FROM refunds WHERE booking_id = :booking_id AND status = 'pending' GROUP BY currency
""")


class PostgresLedger:
    def __init__(self, session: Session) -> None:
        self._session = session

    def post(self, posting: Posting) -> None:
        self._session.later(
            POST,
            id=posting.id,
            kind=posting.kind,
            booking_id=posting.subject.booking_id,
            show_id=posting.subject.show_id,
            provider=posting.subject.provider,
            payment_id=posting.subject.provider_payment_id,
            refund_id=posting.refund_id,
            debit=posting.debit,
            credit=posting.credit,
            amount=posting.amount.amount,
            currency=posting.amount.currency,
        )

    async def balances(self, booking_id: UUID) -> list[Balance]:
        accounts: dict[str, dict[Account, int]] = defaultdict(dict)
        still_open: dict[str, int] = {}
        for row in await self._session.all(BALANCES, booking_id=booking_id):
            if row.account is None:
                still_open[row.currency] = row.amount
            else:
                accounts[row.currency][Account(row.account)] = row.amount
        return [
            Balance(currency, accounts.get(currency, {}), still_open.get(currency, 0))
            for currency in sorted({*accounts, *still_open})
        ]
