"""The ledger's rows: appended, added up, never changed."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text

from domain.case import CaseKind
from domain.ledger import Posting
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
# Whether all decided money balances (docs/ledger.md), and the case where it does not: one statement
# that nobody waits for. A promise that is let go has its verdict first, and its end at the provider
# afterwards: until then its posting does not count, and any other of it does. The bank holds what
# its disputes say, also where the case of one was resolved long before its end.
CLOSE = text("""
WITH stands AS (
    SELECT currency, account, (sum(debit) - sum(credit))::bigint AS amount
    FROM ledger_entries AS entry
    WHERE booking_id = :booking_id AND NOT EXISTS (
        SELECT FROM provider_payments
        WHERE id = entry.provider_payment_id
          AND (decision IS NULL OR status = 'authorised' AND entry.kind = 'authorised')
    )
    GROUP BY currency, account
), explained AS (
    SELECT currency, 'refunds_due' AS account, -sum(amount)::bigint AS amount FROM refunds
    WHERE booking_id = :booking_id AND status = 'pending' GROUP BY currency
    UNION ALL
    SELECT disputes.currency, 'disputed', sum(disputes.amount)::bigint
    FROM disputes JOIN provider_payments AS paid ON paid.id = provider_payment_id
    WHERE disputes.booking_id = :booking_id AND decision IS NOT NULL
      AND (disputes.status = 'open' OR disputes.status = 'lost' AND borne_by IS NULL)
    GROUP BY disputes.currency
), wrong AS (
    SELECT FROM stands WHERE account IN ('buyer', 'authorised') AND amount <> 0
    UNION ALL
    SELECT FROM (SELECT * FROM stands WHERE account IN ('refunds_due', 'disputed')) AS it
    FULL JOIN explained USING (currency, account)
    WHERE coalesce(it.amount, 0) <> coalesce(explained.amount, 0)
), opened AS (
    INSERT INTO cases (id, kind, dedupe, summary, booking_id)
    SELECT gen_random_uuid(), CAST(:kind AS text),
           CAST(:kind AS text) || ':' || id || ':' || version, :summary, id
    FROM bookings WHERE id = :booking_id AND case_id IS NULL AND EXISTS (SELECT FROM wrong)
    ON CONFLICT DO NOTHING
    RETURNING id, booking_id
)
UPDATE bookings SET case_id = opened.id FROM opened WHERE bookings.id = opened.booking_id
""")
BOOKS_OPEN = (
    "A workflow of this booking has ended and its ledger does not balance: money stands undecided,"
    " or is due without a refund under way."
)


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

    def close(self, booking_id: UUID) -> None:
        self._session.later(
            CLOSE, booking_id=booking_id, kind=CaseKind.BOOKS_OPEN, summary=BOOKS_OPEN
        )
