"""Refunds that somebody asked for, and the seats that are given up for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain.booking import BookingState
from domain.refund import Purse, RefundPart, SoldSeat, Standing
from infra.postgres.database import Session
from infra.postgres.payment import STANDS

SEATS = text("""
SELECT bookings.state, bookings.currency, shows.starts_at, clock_timestamp() AS now,
       label, amount, released_at IS NOT NULL AS released
FROM bookings JOIN shows ON shows.id = bookings.show_id
JOIN booking_seats ON booking_id = bookings.id
WHERE bookings.id = :id ORDER BY label
""")

# The payment that confirms comes first, then the newest. Promised is each refund that stands, once,
# whatever the provider counts by now. What went back at the provider unasked counts beside them,
# and so does what a dispute has withdrawn.
PURSES = text(f"""
SELECT paid.id, paid.provider, paid.captured,
       (paid.refunded_unasked + coalesce(sum(refunds.amount) FILTER (WHERE {STANDS}), 0)
       + coalesce((SELECT sum(amount) FROM disputes WHERE provider_payment_id = paid.id
                   AND status IN ('open', 'lost')), 0))::bigint
       AS promised
FROM provider_payments AS paid
JOIN bookings ON bookings.id = paid.booking_id AND bookings.currency = paid.currency
LEFT JOIN refunds ON refunds.provider_payment_id = paid.id
WHERE paid.booking_id = :id AND paid.captured > 0 AND paid.decision IS NOT NULL
GROUP BY paid.id ORDER BY paid.decision <> 'confirms', paid.created_at DESC, paid.id
""")  # noqa: S608  # nosec B608

PARTS = text("""
SELECT refunds.*, paid.provider, paid.reference AS paid_reference
FROM refunds JOIN provider_payments AS paid ON paid.id = refunds.provider_payment_id
WHERE refunds.booking_id = :id AND number IS NOT NULL ORDER BY number, part
""")

ADD = text("""
INSERT INTO refunds (id, booking_id, provider_payment_id, idempotency_key, reason, status, amount,
                     currency, number, part, seats, note, request_key)
SELECT :id, :booking_id, :payment_id, :key, :reason, 'pending', :amount, currency, :number, :part,
       :seats, :note, :request_key
FROM bookings WHERE id = :booking_id
""")

ACCEPT = text("""
UPDATE refunds SET reference = :reference, short_at = NULL,
    accepted_at = coalesce(accepted_at,
                           CASE WHEN :is_found THEN created_at ELSE clock_timestamp() END)
WHERE id = :id AND status = 'pending' AND reference IS NULL AND tries = :tries
""")

# The key is new, so only the provider's word that the last one had no effect may lead here.
TRY_AGAIN = text("""
UPDATE refunds SET tries = tries + 1, reference = NULL,
    failed = array_append(failed, coalesce(CAST(:reference AS text), reference, 'refused')),
    idempotency_key = split_part(idempotency_key, '#', 1) || '#' || (tries + 2)
WHERE id = :id AND status = 'pending' AND tries = :tries
""")

CAME_BACK = text("""
UPDATE refunds SET status = 'failed', settled_at = clock_timestamp()
WHERE id = :id AND status = 'succeeded'
""")

SHORT = text("""
UPDATE refunds SET short_at = CASE WHEN :is_short THEN clock_timestamp() END
WHERE id = :id AND status = 'pending' AND reference IS NULL
""")

SETTLE = text("""
UPDATE refunds SET status = :status, settled_at = clock_timestamp(), short_at = NULL
WHERE id = :id AND status = 'pending'
""")

# Locked in label order, as a claim does. The fence rises: what still names the old holder's fence
# changes nothing any more.
RELEASE = text("""
WITH mine AS MATERIALIZED (
    SELECT show_id, label FROM seat_claims
    WHERE booking_id = :booking_id AND state = 'sold' AND label = ANY(CAST(:labels AS text[]))
    ORDER BY show_id, label FOR UPDATE
), given_up AS (
    UPDATE booking_seats SET released_at = clock_timestamp()
    WHERE booking_id = :booking_id AND label = ANY(CAST(:labels AS text[]))
)
UPDATE seat_claims AS claim
SET state = 'free', booking_id = NULL, fence = fence + 1, updated_at = clock_timestamp()
FROM mine WHERE claim.show_id = mine.show_id AND claim.label = mine.label
RETURNING claim.label
""")

PLACE = text("""
SELECT count(*) FROM refunds AS earlier JOIN refunds AS this USING (booking_id)
WHERE this.id = :id AND earlier.created_at <= this.created_at
""")


class PostgresRefunds:
    def __init__(self, session: Session) -> None:
        self._session = session

    async def standing(self, booking_id: UUID) -> Standing | None:
        seats = await self._session.all(SEATS, id=booking_id)
        if not seats:
            return None
        purses = await self._session.all(PURSES, id=booking_id)
        parts = await self._session.all(PARTS, id=booking_id)
        return Standing(
            state=BookingState(seats[0].state),
            currency=seats[0].currency,
            starts_at=seats[0].starts_at,
            now=seats[0].now,
            seats=tuple(SoldSeat(row.label, row.amount, row.released) for row in seats),
            purses=tuple(Purse(row.id, row.provider, row.captured, row.promised) for row in purses),
            parts=tuple(map(_part, parts)),
        )

    async def parts(self, booking_id: UUID, number: int) -> list[RefundPart]:
        found = await self._session.all(PARTS, id=booking_id)
        return [_part(row) for row in found if row.number == number]

    async def add(self, booking_id: UUID, parts: Sequence[RefundPart], **told: Any) -> None:
        for part in parts:
            self._session.later(
                ADD,
                changes=1,
                id=part.id,
                booking_id=booking_id,
                payment_id=part.provider_payment_id,
                key=part.key,
                amount=part.amount,
                number=part.number,
                part=part.part,
                seats=list(part.seats),
                request_key=part.request_key,
                **told,
            )
        await self._session.flush()

    async def accept(
        self, refund_id: UUID, reference: str, tries: int = 0, *, is_found: bool = False
    ) -> bool:
        changed = await self._session.change(
            ACCEPT, id=refund_id, reference=reference, tries=tries, is_found=is_found
        )
        return changed == 1

    async def try_again(self, refund_id: UUID, reference: str | None, tries: int) -> bool:
        changed = await self._session.change(
            TRY_AGAIN, id=refund_id, reference=reference, tries=tries
        )
        return changed == 1

    async def came_back(self, refund_id: UUID) -> bool:
        return await self._session.change(CAME_BACK, id=refund_id) == 1

    def short(self, refund_id: UUID, *, is_short: bool) -> None:
        self._session.later(SHORT, id=refund_id, is_short=is_short)

    async def settle(self, refund_id: UUID, status: str) -> bool:
        return await self._session.change(SETTLE, id=refund_id, status=status) == 1

    async def release(self, booking_id: UUID, labels: Sequence[str]) -> list[str]:
        freed = await self._session.all(RELEASE, booking_id=booking_id, labels=list(labels))
        return sorted(row.label for row in freed)

    async def place(self, refund_id: UUID) -> int:
        row = await self._session.one(PLACE, id=refund_id)
        assert row is not None, "a count has one row"
        return int(row.count)


def _part(row: Any) -> RefundPart:
    return RefundPart(
        id=row.id,
        provider_payment_id=row.provider_payment_id,
        number=row.number,
        part=row.part,
        status=row.status,
        seats=tuple(row.seats),
        amount=row.amount,
        reference=row.reference,
        provider=row.provider,
        paid_reference=row.paid_reference,
        key=row.idempotency_key,
        request_key=row.request_key,
        tries=row.tries,
    )
