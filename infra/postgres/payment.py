"""Payment attempts, what providers say was paid, and refunds."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain import ids
from domain.money import Money
from domain.payment import ProviderPayment, Verdict
from domain.payment_policy import PaymentMode
from domain.payment_status import PaymentStatus, rank
from domain.polling import SCHEDULE
from infra.postgres.database import Session
from services.payment_rows import Attempt, Receipt
from services.ports import Refund


def rank_of(column: str) -> str:
    """SQL for the place of a status in the domain's order: made from it, so they cannot differ.

    A later fact may raise a status, an earlier one never lowers it.
    """
    places = " ".join(f"WHEN '{status}' THEN {rank(status)}" for status in PaymentStatus)
    return f"CASE {column} {places} END"


ATTEMPTS = text("SELECT * FROM payments WHERE booking_id = :booking_id ORDER BY attempt")
LATEST = text("SELECT * FROM payments WHERE booking_id = :id ORDER BY attempt DESC LIMIT 1")
MAY_READ = text("""
UPDATE payments SET last_read_at = clock_timestamp() WHERE id = :id
AND (last_read_at IS NULL OR last_read_at < clock_timestamp() - interval '1 second')
""")
ADD_ATTEMPT = text("""
INSERT INTO payments (id, booking_id, attempt, provider, status, amount, currency, return_url,
                      mode, expires_at)
VALUES (:id, :booking_id, :attempt, :provider, :status, :amount, :currency, :return_url,
        :mode, :expires_at)
""")
SET_SESSION = text("""
UPDATE payments SET session_id = :session_id, checkout_url = :checkout_url,
    next_poll_at = clock_timestamp() + make_interval(secs => :first_poll),
    updated_at = clock_timestamp()
WHERE id = :id AND session_id IS NULL
RETURNING *
""")
ATTEMPT = text("SELECT * FROM payments WHERE id = :id")
RAISE_STATUS = text(  # house: H2 -- rank_of is given literals only
    f"UPDATE payments SET status = CAST(:status AS text), updated_at = clock_timestamp()"  # noqa: S608
    f" WHERE id = :id AND {rank_of('status')} < {rank_of(':status')}"  # nosec B608
)
CLOSE_SESSION = text("""
UPDATE payments SET session_open = false, next_poll_at = NULL, updated_at = clock_timestamp(),
    status = CASE WHEN status IN ('open', 'processing') THEN 'cancelled' ELSE status END
WHERE id = :id AND session_open
""")
# The one step back in the order of statuses: no fact is taken back, for the page was closed by word
# of one that did not know of the other. A page beside it that is open leaves it closed.
REOPEN_SESSION = text("""
UPDATE payments SET session_open = true, status = 'processing', updated_at = clock_timestamp(),
    next_poll_at = clock_timestamp() + make_interval(secs => :first_poll)
WHERE id = :id AND NOT session_open AND status = 'cancelled' AND NOT EXISTS (
    SELECT FROM payments AS other
    WHERE other.booking_id = payments.booking_id AND other.status IN ('open', 'processing')
)
""")
BY_SESSION = text("SELECT * FROM payments WHERE provider = :provider AND session_id = :session_id")

# Every refund but those that were withdrawn: one that failed after it was accepted, or came back,
# is still owed, and a person sends it.
STANDS = "(refunds.status <> 'failed' OR number IS NULL OR accepted_at IS NOT NULL)"

IS_LATER = f"{rank_of('known.status')} < {rank_of('excluded.status')}"
# Each column only grows by itself, so that the facts may come in any order and number. The
# provider's sum of refunds holds ours as well, from when it accepted them, whether we know that
# yet or not; `unasked` is what is more than all of ours that it may have accepted. A smaller sum
# may be an older one, read before a refund and told after it: lowered by it, money that went back
# would go back again. Only the list of refunds can say that one failed, see `SET_UNASKED`.
RECORD_RECEIPT = text(
    "WITH before AS (SELECT captured, status, amount, fee FROM provider_payments"  # noqa: S608
    " WHERE provider = :provider AND reference = :reference), told AS (SELECT greatest(0,"
    " CAST(:refunded AS bigint) - coalesce(sum(amount), 0))::bigint AS unasked FROM refunds"
    f" WHERE provider_payment_id = :id AND {STANDS})"
    " INSERT INTO provider_payments AS known (id, provider, reference, booking_id, payment_id,"
    " status, amount, currency, captured, refunded, refunded_unasked, fee)"
    " SELECT :id, :provider, :reference, CAST(:booking_id AS uuid), CAST(:payment_id AS uuid),"
    " :status, :amount, :currency, :captured, :refunded, unasked, :fee FROM told"
    " ON CONFLICT (provider, reference) DO UPDATE SET"
    f" status = CASE WHEN {IS_LATER} THEN excluded.status ELSE known.status END,"
    " amount = excluded.amount, currency = excluded.currency,"
    " captured = greatest(known.captured, excluded.captured),"
    " refunded = greatest(known.refunded, excluded.refunded),"
    " refunded_unasked = greatest(known.refunded_unasked, excluded.refunded_unasked),"
    " fee = greatest(known.fee, excluded.fee), updated_at = clock_timestamp()"
    f" WHERE {IS_LATER} OR known.captured < excluded.captured"
    " OR known.refunded < excluded.refunded"
    " OR known.refunded_unasked < excluded.refunded_unasked"
    " RETURNING *, captured - coalesce((SELECT captured FROM before), 0) AS newly_captured,"
    " (SELECT amount FROM before WHERE status = 'authorised') AS was_promised,"  # nosec B608
    " coalesce((SELECT fee FROM before), 0) AS fee_before"
)
# So a sum that explains less only lets the next reconciliation ask for the payment by its id,
# however old it is, and read the list. Any sum leaves its mark: a list that was read before it may
# lack a refund that it counts.
NOTE_SUM = text(f"""
UPDATE provider_payments SET updated_at = clock_timestamp(), reconciled_at = CASE
    WHEN refunded_unasked <= CAST(:refunded AS bigint) - (
        SELECT coalesce(sum(amount), 0) FROM refunds WHERE provider_payment_id = :id AND {STANDS}
    ) THEN reconciled_at
END
WHERE id = :id
""")  # noqa: S608  # nosec B608
SET_UNASKED = text("""
UPDATE provider_payments SET refunded_unasked = :unasked, refunded = least(refunded, :listed),
    updated_at = clock_timestamp()
WHERE id = :id AND updated_at = :seen
""")
# By itself it is no news of the payment: nothing but the ledger hears of it.
RAISE_FEE = text("UPDATE provider_payments SET fee = :fee WHERE id = :id AND fee < :fee")
RECEIPT = text("SELECT * FROM provider_payments WHERE id = :id")
RECEIPT_BY_REFERENCE = text(
    "SELECT * FROM provider_payments WHERE provider = :provider AND reference = :reference"
)
# Money taken or promised that no verdict was given on: its news was written down, and not told.
UNJUDGED = text("""
SELECT id FROM provider_payments
WHERE booking_id = :booking_id AND decision IS NULL AND status IN ('captured', 'authorised')
ORDER BY created_at, id LIMIT 1
""")
DECIDE = text("""
UPDATE provider_payments SET decision = :verdict, updated_at = clock_timestamp()
WHERE id = :id AND decision IS NULL
""")
ADD_REFUND = text("""
INSERT INTO refunds (id, booking_id, provider_payment_id, idempotency_key, reason, status,
                     amount, currency)
VALUES (:id, :booking_id, :provider_payment_id, :key, :reason, 'pending', :amount, :currency)
ON CONFLICT (idempotency_key) DO NOTHING
""")
# As the mail lists them: not those that were taken meanwhile and went back as a refund.
COUNT_VOIDS = text("""
SELECT count(*) FROM provider_payments
WHERE booking_id = :id AND captured = 0 AND decision NOT IN ('confirms', 'refused')
""")
COUNT_REFUNDS = text("SELECT count(*) FROM refunds WHERE booking_id = :id")
REFUND_OF = text("""
SELECT refunds.*, provider_payments.reference AS paid_reference, provider_payments.provider
FROM refunds JOIN provider_payments ON provider_payments.id = refunds.provider_payment_id
WHERE refunds.provider_payment_id = :id AND number IS NULL ORDER BY refunds.created_at LIMIT 1
""")
SETTLE_REFUND = text("""
UPDATE refunds SET status = :status, reference = :reference, short_at = NULL,
    settled_at = CASE WHEN :status = 'pending' THEN NULL ELSE clock_timestamp() END
WHERE id = :id AND status <> 'succeeded' AND status <> :status
""")


class PostgresPayments:
    def __init__(self, session: Session, first_poll: timedelta = SCHEDULE.first) -> None:
        self._session = session
        self._first_poll = first_poll.total_seconds()

    async def attempts(self, booking_id: UUID) -> list[Attempt]:
        return [as_attempt(row) for row in await self._session.all(ATTEMPTS, booking_id=booking_id)]

    async def latest_attempt(self, booking_id: UUID) -> Attempt | None:
        row = await self._session.one(LATEST, id=booking_id)
        return as_attempt(row) if row else None

    async def may_read(self, payment_id: UUID) -> bool:
        return await self._session.change(MAY_READ, id=payment_id) == 1

    def add_attempt(self, attempt: Attempt) -> None:
        self._session.later(
            ADD_ATTEMPT,
            id=attempt.id,
            booking_id=attempt.booking_id,
            attempt=attempt.attempt,
            provider=attempt.provider,
            status=attempt.status,
            amount=attempt.amount.amount,
            currency=attempt.amount.currency,
            return_url=attempt.return_url,
            mode=attempt.mode,
            expires_at=attempt.expires_at,
        )

    async def set_session(
        self, payment_id: UUID, session_id: str, checkout_url: str
    ) -> tuple[Attempt, bool]:
        row = await self._session.one(
            SET_SESSION,
            id=payment_id,
            session_id=session_id,
            checkout_url=checkout_url,
            first_poll=self._first_poll,
        )
        return (as_attempt(row), True) if row else (await self.attempt(payment_id), False)

    def raise_status(self, payment_id: UUID, status: str) -> None:
        self._session.later(RAISE_STATUS, id=payment_id, status=status)

    async def fail(self, payment_id: UUID) -> bool:
        return await self._session.change(RAISE_STATUS, id=payment_id, status="failed") == 1

    def close_session(self, payment_id: UUID) -> None:
        self._session.later(CLOSE_SESSION, id=payment_id)

    def reopen_session(self, payment_id: UUID) -> None:
        self._session.later(REOPEN_SESSION, id=payment_id, first_poll=self._first_poll)

    async def attempt(self, payment_id: UUID) -> Attempt:
        row = await self._session.one(ATTEMPT, id=payment_id)
        if row is None:
            raise LookupError(f"payment {payment_id} has no row")
        return as_attempt(row)

    async def attempt_by_session(self, provider: str, session_id: str) -> Attempt | None:
        row = await self._session.one(BY_SESSION, provider=provider, session_id=session_id)
        return as_attempt(row) if row else None

    async def record_receipt(
        self, attempt: Attempt, provider: str, payment: ProviderPayment
    ) -> tuple[Receipt, bool]:
        row = await self._session.one(
            RECORD_RECEIPT,
            id=ids.provider_payment_id(provider, payment.reference),
            provider=provider,
            reference=payment.reference,
            booking_id=attempt.booking_id,
            payment_id=attempt.id,
            status=payment.status,
            amount=payment.amount.amount,
            currency=payment.amount.currency,
            captured=payment.captured,
            refunded=payment.refunded,
            fee=payment.fee,
        )
        is_news = row is not None
        row = row or await self._session.one(
            RECEIPT_BY_REFERENCE, provider=provider, reference=payment.reference
        )
        assert row is not None, "the insert met a row"
        if row.refunded_unasked:
            self._session.later(NOTE_SUM, id=row.id, refunded=payment.refunded)
        return (_news(row), True) if is_news else (_receipt(row), False)

    async def set_unasked(
        self, receipt_id: UUID, unasked: int, *, listed: int, seen: datetime
    ) -> bool:
        changed = await self._session.change(
            SET_UNASKED, id=receipt_id, unasked=unasked, listed=listed, seen=seen
        )
        return changed == 1

    def raise_fee(self, receipt_id: UUID, fee: int) -> None:
        self._session.later(RAISE_FEE, id=receipt_id, fee=fee)

    async def receipt(self, receipt_id: UUID) -> Receipt | None:
        row = await self._session.one(RECEIPT, id=receipt_id)
        return _receipt(row) if row else None

    async def unjudged(self, booking_id: UUID) -> UUID | None:
        row = await self._session.one(UNJUDGED, booking_id=booking_id)
        return row.id if row else None

    def decide(self, receipt_id: UUID, verdict: Verdict) -> None:
        self._session.later(DECIDE, id=receipt_id, verdict=verdict)

    async def add_refund(self, receipt: Receipt, *, refund_id: UUID, key: str) -> Refund:
        self._session.later(
            ADD_REFUND,
            id=refund_id,
            booking_id=receipt.booking_id,
            provider_payment_id=receipt.id,
            key=key,
            reason=key.rpartition(":")[2],
            amount=receipt.paid.amount,
            currency=receipt.paid.currency,
        )
        refund = await self.refund_of(receipt.id)
        assert refund is not None, "it was inserted above"
        return refund

    async def count_voids(self, booking_id: UUID) -> int:
        row = await self._session.one(COUNT_VOIDS, id=booking_id)
        return int(row.count) if row else 0

    async def count_refunds(self, booking_id: UUID) -> int:
        row = await self._session.one(COUNT_REFUNDS, id=booking_id)
        return int(row.count) if row else 0

    async def refund_of(self, receipt_id: UUID) -> Refund | None:
        row = await self._session.one(REFUND_OF, id=receipt_id)
        return _refund(row) if row else None

    async def settle_refund(self, refund_id: UUID, *, status: str, reference: str) -> bool:
        changed = await self._session.change(
            SETTLE_REFUND, id=refund_id, status=status, reference=reference
        )
        return changed == 1


def as_attempt(row: Any) -> Attempt:
    return Attempt(
        id=row.id,
        booking_id=row.booking_id,
        attempt=row.attempt,
        provider=row.provider,
        session_id=row.session_id,
        status=row.status,
        amount=Money(row.amount, row.currency),
        checkout_url=row.checkout_url,
        return_url=row.return_url,
        mode=PaymentMode(row.mode),
        expires_at=row.expires_at,
        session_open=row.session_open,
    )


def _news(row: Any) -> Receipt:
    """A receipt with what recording it just now changed."""
    is_promised = row.status == PaymentStatus.AUTHORISED
    return replace(
        _receipt(row),
        newly_captured=row.newly_captured,
        newly_promised=row.amount if is_promised and row.was_promised is None else 0,
        promise_ended=0 if is_promised else row.was_promised or 0,
        fee=row.fee_before,
    )


def _receipt(row: Any) -> Receipt:
    return Receipt(
        id=row.id,
        booking_id=row.booking_id,
        payment_id=row.payment_id,
        provider=row.provider,
        reference=row.reference,
        status=row.status,
        paid=Money(row.captured, row.currency),
        promised=Money(row.amount, row.currency),
        refunded=row.refunded,
        verdict=Verdict(row.decision) if row.decision else None,
        disputed=row.disputed,
        fee=row.fee,
    )


def _refund(row: Any) -> Refund:
    return Refund(
        id=row.id,
        booking_id=row.booking_id,
        reference=row.paid_reference,
        provider=row.provider,
        idempotency_key=row.idempotency_key,
        status=row.status,
        amount=Money(row.amount, row.currency),
        tries=row.tries,
        is_accepted=row.status == "pending" and row.reference is not None,
    )
