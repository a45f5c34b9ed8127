"""Cancelled shows: the sale stopped, bookings walked through by id, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text

from domain.events import Event
from domain.show_cancel import Left, Plan, Report, Sum
from infra.postgres import event_store
from infra.postgres.database import Session
from infra.postgres.payment import STANDS
from services.show_ports import CancelShow, Leftover, ShortRefund

FIRST_ID = UUID(int=0)

# Alone: every hold under way shares this lock, see the locks of a hold.
SHOW_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:show_id, 1))")
CANCEL = text("UPDATE shows SET status = 'cancelled' WHERE id = :id AND status <> 'cancelled'")
EXISTS = text("SELECT 1 FROM shows WHERE id = :id")
ADD = text("""
INSERT INTO show_cancellations (show_id, reason, actor, request_id, plan)
VALUES (:show_id, :reason, :actor, :request_id, CAST(:plan AS jsonb))
ON CONFLICT (show_id) DO NOTHING
""")

BY_STATE = text("SELECT state, count(*) FROM bookings WHERE show_id = :show_id GROUP BY state")

# As `PURSES` of infra/postgres/refund.py, for all bookings of a show. Without disputes: the payment
# of a confirmed booking has none, and any other payment goes back by its own verdict.
DUE = text(f"""
WITH due AS (
    SELECT paid.id, paid.provider, paid.currency, paid.captured - paid.refunded_unasked
        - coalesce(sum(refunds.amount) FILTER (WHERE {STANDS}), 0) AS amount
    FROM bookings
    JOIN provider_payments AS paid
      ON paid.booking_id = bookings.id AND paid.currency = bookings.currency
    LEFT JOIN refunds ON refunds.provider_payment_id = paid.id
    WHERE bookings.show_id = :show_id AND bookings.state = 'confirmed'
      AND paid.captured > 0 AND paid.decision IS NOT NULL
    GROUP BY paid.id
)
SELECT provider, currency, count(*), sum(amount)::bigint AS amount
FROM due WHERE amount > 0 GROUP BY provider, currency ORDER BY provider, currency
""")  # noqa: S608  # nosec B608

WAS_TOLD = text("""
SELECT 1 FROM notification_outbox
WHERE booking_id = :id AND template = 'show_cancelled' AND revision = 1 AND channel = 'email'
""")

# Locked in label order, as a claim does.
FREE_SOLD = text("""
WITH mine AS MATERIALIZED (
    SELECT show_id, label FROM seat_claims WHERE booking_id = :booking_id AND state = 'sold'
    ORDER BY show_id, label FOR UPDATE
)
UPDATE seat_claims AS claim
SET state = 'free', booking_id = NULL, fence = fence + 1, updated_at = clock_timestamp()
FROM mine WHERE claim.show_id = mine.show_id AND claim.label = mine.label
RETURNING claim.label
""")

OPEN_BOOKINGS = text("""
SELECT id FROM bookings
WHERE show_id = :show_id AND state IN ('held', 'expiring', 'cancelling') AND id > :after
ORDER BY id LIMIT 100
""")
REFUNDABLE = text("""
SELECT id FROM bookings
WHERE show_id = :show_id AND state = 'confirmed' AND id > :after AND NOT EXISTS (
    SELECT FROM refunds WHERE booking_id = bookings.id
      AND reason = 'show_cancelled' AND status = 'failed'
)
ORDER BY id LIMIT 100
""")
SHORT = text("""
SELECT refunds.booking_id, number
FROM bookings JOIN refunds ON refunds.booking_id = bookings.id
WHERE show_id = :show_id AND refunds.status = 'pending' AND short_at IS NOT NULL
  AND number IS NOT NULL
ORDER BY short_at, refunds.id LIMIT 1
""")
# A refund by the money's own verdict, of a payment in dispute: nobody sends it until the bank has
# decided, which takes months. Winning starts it then, whether a run waits for it or not.
UNTIL_THE_BANK = """
SELECT FROM provider_payments AS paid
WHERE paid.id = refunds.provider_payment_id AND disputed
  AND number IS NULL AND refunds.reference IS NULL
"""
LEFT = text(f"""
SELECT (
    SELECT count(*) FROM bookings
    WHERE show_id = :show_id AND state IN ('held', 'expiring', 'cancelling')
) AS open, EXISTS (
    SELECT FROM bookings WHERE show_id = :show_id AND state IN ('held', 'expiring')
) AS untold, EXISTS (
    SELECT FROM bookings WHERE show_id = :show_id AND state = 'confirmed' AND NOT EXISTS (
        SELECT FROM refunds WHERE booking_id = bookings.id
          AND reason = 'show_cancelled' AND status = 'failed'
    )
) AS refundable, count(*) AS pending, count(short_at) FILTER (WHERE number IS NOT NULL) > 0 AS short
FROM bookings JOIN refunds ON refunds.booking_id = bookings.id
WHERE show_id = :show_id AND refunds.status = 'pending' AND NOT EXISTS ({UNTIL_THE_BANK})
""")  # noqa: S608  # nosec B608
LEFTOVERS = text(f"""
SELECT id, bool_and(waits) AS waits_for_bank FROM (
    SELECT id, false AS waits FROM bookings
    WHERE show_id = :show_id AND state IN ('confirmed', 'disputed')
    UNION ALL
    SELECT bookings.id, true FROM bookings JOIN refunds ON refunds.booking_id = bookings.id
    WHERE show_id = :show_id AND refunds.status = 'pending' AND EXISTS ({UNTIL_THE_BANK})
) AS left_over
WHERE NOT EXISTS (
    SELECT FROM cases WHERE cases.booking_id = left_over.id AND cases.kind = 'show_cancel_left'
)
GROUP BY id ORDER BY id LIMIT 100
""")  # noqa: S608  # nosec B608

REFUNDED = text("""
SELECT paid.provider, refunds.currency, refunds.status, reason = 'show_cancelled' AS is_ours,
       count(*), sum(refunds.amount)::bigint AS amount
FROM bookings
JOIN refunds ON refunds.booking_id = bookings.id
JOIN provider_payments AS paid ON paid.id = refunds.provider_payment_id
WHERE show_id = :show_id
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
""")
ENDED = text("""
SELECT count(*) FILTER (WHERE payload ->> 'what' = 'hold') AS holds,
       count(*) FILTER (WHERE payload ->> 'what' = 'free') AS free
FROM bookings
JOIN events ON aggregate_id = bookings.id AND event_type = 'BookingCalledOff'
WHERE show_id = :show_id AND state IN ('cancelled', 'expired')
""")
CASES = text("""
SELECT cases.id FROM bookings JOIN cases ON cases.booking_id = bookings.id
WHERE show_id = :show_id AND kind IN ('show_cancel_left', 'refund_failed') ORDER BY cases.id
""")

PAUSE = text("""
UPDATE show_cancellations
SET paused = :why, status = CASE WHEN CAST(:why AS text) IS NULL THEN 'running' ELSE 'paused' END
WHERE show_id = :show_id AND status <> 'finished' AND paused IS DISTINCT FROM :why
""")
TURN = text("SELECT show_id FROM show_cancellations WHERE show_id = :show_id FOR UPDATE")
NOTED = text("""
SELECT id FROM audit_log
WHERE target = 'show:' || CAST(:show_id AS text) AND details ->> 'wish' = :wish
""")
FINISH = text("""
UPDATE show_cancellations SET status = 'finished', paused = NULL, finished_at = clock_timestamp(),
    report = CAST(:report AS jsonb)
WHERE show_id = :show_id AND status <> 'finished'
""")


class PostgresShows:
    """See ``services.show_ports.Shows``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def cancel(self, show_id: UUID) -> bool | None:
        self._session.later(SHOW_LOCK, show_id=str(show_id))
        if await self._session.change(CANCEL, id=show_id) == 1:
            return True
        return False if await self._session.one(EXISTS, id=show_id) else None

    async def plan(self, show_id: UUID, *, refunds_per_second: float) -> Plan | None:
        if await self._session.one(EXISTS, id=show_id) is None:
            return None
        due = await self._session.all(DUE, show_id=show_id)
        refunds = tuple(Sum(row.provider, row.currency, row.count, row.amount) for row in due)
        return Plan(await self._by_state(show_id), refunds, refunds_per_second)

    async def _by_state(self, show_id: UUID) -> dict[str, int]:
        rows = await self._session.all(BY_STATE, show_id=show_id)
        return {row.state: row.count for row in sorted(rows)}

    async def add(self, wish: CancelShow, plan: Plan) -> bool:
        added = await self._session.change(
            ADD,
            show_id=wish.show_id,
            reason=wish.reason,
            actor=wish.actor,
            request_id=wish.request_id,
            plan=orjson.dumps(plan.as_json()).decode(),
        )
        return added == 1

    def happened(self, show_id: UUID, event: Event, *, actor: str, request_id: str | None) -> None:
        event_store.append(self._session, show_id, event, actor=actor, request_id=request_id)

    async def was_told(self, booking_id: UUID) -> bool:
        return await self._session.one(WAS_TOLD, id=booking_id) is not None

    async def free_sold(self, booking_id: UUID) -> list[str]:
        freed = await self._session.all(FREE_SOLD, booking_id=booking_id)
        return sorted(row.label for row in freed)

    async def open_bookings(self, show_id: UUID, after: UUID | None) -> Sequence[UUID]:
        rows = await self._session.all(OPEN_BOOKINGS, show_id=show_id, after=after or FIRST_ID)
        return [row.id for row in rows]

    async def refundable(self, show_id: UUID, after: UUID | None) -> Sequence[UUID]:
        rows = await self._session.all(REFUNDABLE, show_id=show_id, after=after or FIRST_ID)
        return [row.id for row in rows]

    async def short(self, show_id: UUID) -> ShortRefund | None:
        row = await self._session.one(SHORT, show_id=show_id)
        return ShortRefund(row.booking_id, row.number) if row else None

    async def left(self, show_id: UUID) -> Left:
        row: Any = await self._session.one(LEFT, show_id=show_id)
        return Left(row.open, row.refundable, row.pending, row.short, row.untold)

    async def leftovers(self, show_id: UUID) -> Sequence[Leftover]:
        rows = await self._session.all(LEFTOVERS, show_id=show_id)
        return [Leftover(row.id, row.waits_for_bank) for row in rows]

    async def report(self, show_id: UUID) -> Report:
        rows = await self._session.all(REFUNDED, show_id=show_id)
        ended: Any = await self._session.one(ENDED, show_id=show_id)
        cases = await self._session.all(CASES, show_id=show_id)

        def sums(status: str) -> tuple[Sum, ...]:
            ours = (row for row in rows if row.is_ours and row.status == status)
            return tuple(Sum(row.provider, row.currency, row.count, row.amount) for row in ours)

        others = (row for row in rows if not row.is_ours and row.status == "succeeded")
        return Report(
            bookings=await self._by_state(show_id),
            holds_ended=ended.holds,
            without_money=ended.free,
            refunded=sums("succeeded"),
            pending=sums("pending"),
            failed=sums("failed"),
            already_refunded=tuple(
                Sum(row.provider, row.currency, row.count, row.amount) for row in others
            ),
            cases=tuple(str(row.id) for row in cases),
        )

    async def pause(self, show_id: UUID, why: str | None) -> bool:
        return await self._session.change(PAUSE, show_id=show_id, why=why) == 1

    async def was_noted(self, show_id: UUID, wish: str) -> bool:
        self._session.later(TURN, show_id=show_id)
        return await self._session.one(NOTED, show_id=str(show_id), wish=wish) is not None

    async def finish(self, show_id: UUID, report: Report) -> None:
        told = orjson.dumps(report.as_json()).decode()
        await self._session.change(FINISH, show_id=show_id, report=told)
