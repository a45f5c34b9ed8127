"""The loops' work in PostgreSQL. A row is leased by moving its next time, never held by a lock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text

from domain.limits import REQUEST_TTL_SECONDS
from domain.polling import SCHEDULE, PollSchedule
from domain.steps import BookingInput, SeatChoice
from infra.postgres.database import Database
from infra.postgres.idempotency import KEPT_SECONDS
from infra.postgres.payment import as_attempt
from services.payment_rows import Attempt
from services.work import HoldLimits, InboxRow

# now(), not clock_timestamp(): only a stable function can be looked up in an index.
TAKE_INBOX = text("""
UPDATE webhook_inbox SET attempts = attempts + 1,
    next_attempt_at = now() + interval '30 seconds'
WHERE id IN (
    SELECT id FROM webhook_inbox
    WHERE status = 'pending' AND next_attempt_at <= now()
    ORDER BY next_attempt_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
RETURNING id, provider, event_id, event_type, body, attempts, request_id, failures, set_aside,
    extract(epoch FROM clock_timestamp() - received_at)::float8 AS age_seconds
""")
FINISH_INBOX = text("""
UPDATE webhook_inbox SET status = 'done', reason = NULL, processed_at = now()
WHERE id = ANY(CAST(:ids AS bigint[])) AND status = 'pending'
""")
QUARANTINE_INBOX = text("""
UPDATE webhook_inbox SET status = 'quarantined', reason = :reason, processed_at = now()
WHERE id = :id AND status = 'pending'
""")
PUT_BACK_INBOX = text("""
UPDATE webhook_inbox SET reason = :reason, failures = failures + :failed,
    next_attempt_at = now() + make_interval(secs => :seconds)
WHERE id = :id AND status = 'pending'
""")

# The steps of domain.polling come as numbers: the shortest pace whose end is not yet reached.
TAKE_POLLS = text("""
UPDATE payments SET polls = polls + 1, last_read_at = now(),
    next_poll_at = now() + (
        SELECT CASE WHEN bookings.payment_uncertain THEN greatest(min(every), :uncertain)
               ELSE min(every) END * interval '1 second'
        FROM unnest(CAST(:untils AS float8[]), CAST(:paces AS float8[])) AS step (until, every)
        WHERE payments.created_at + until * interval '1 second' > now()
        HAVING count(*) > 0
    )
FROM bookings
WHERE bookings.id = payments.booking_id AND payments.id IN (
    SELECT id FROM payments WHERE next_poll_at <= now()
    ORDER BY next_poll_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
RETURNING payments.*
""")

INPUT = text("""
SELECT bookings.id, bookings.user_id, bookings.show_id,
       array_agg(label ORDER BY label) AS labels, array_agg(ticket_type ORDER BY label) AS types
FROM bookings JOIN booking_seats ON booking_id = bookings.id
WHERE bookings.id = :id AND state IN ('held', 'expiring', 'cancelling')
GROUP BY bookings.id
""")

# A closing booking has something to do whatever is left of its hold; least() passes over NULL.
OVERDUE = text("""
SELECT id FROM bookings
WHERE state IN ('held', 'expiring', 'cancelling')
  AND least(hold_expires_at, closing_since) < now() - make_interval(secs => :seconds)
ORDER BY least(hold_expires_at, closing_since) LIMIT :limit OFFSET :skip
""")

# The hold step locks the request first, so it either took effect or will find this refusal.
SETTLE_DEAD_REQUESTS = text("""
UPDATE booking_requests SET outcome = 'rejected', refusal = CAST(:refusal AS jsonb)
WHERE outcome IS NULL AND created_at < now() - make_interval(secs => :seconds)
""")
DEAD = '{"code": "unavailable", "detail": "The seats could not be held in time; try again."}'

UNDECIDED = text("""
SELECT id FROM provider_payments
WHERE decision IS NULL AND status = 'captured' AND captured > 0
  AND updated_at < now() - make_interval(secs => :seconds)
  AND NOT EXISTS (
      SELECT 1 FROM seat_offers WHERE provider_payment_id = provider_payments.id AND state = 'open'
  )
ORDER BY created_at LIMIT :limit OFFSET :skip
""")
# Neither taken nor let go yet; one that is being taken has its booking's process at work on it.
PROMISED = text("""
SELECT id FROM provider_payments
WHERE status = 'authorised' AND updated_at < now() - make_interval(secs => :seconds)
  AND NOT EXISTS (
      SELECT FROM bookings
      WHERE bookings.id = booking_id AND confirming_payment_id = provider_payments.id
        AND state = 'held'
  )
ORDER BY created_at LIMIT :limit OFFSET :skip
""")

OVERDUE_OFFERS = text("""
SELECT provider_payment_id FROM seat_offers
WHERE state = 'open' AND expires_at < now() - make_interval(secs => :seconds)
ORDER BY expires_at LIMIT :limit OFFSET :skip
""")

# Those that wait only for the bank, or for our balance, come last, here and below: however many,
# they keep no other from its start. Before them come those that failed and wait to be sent again.
# While a dispute is open nothing is sent; when it is won, that news starts the refund again.
PENDING_REFUNDS = text("""
SELECT provider_payment_id FROM refunds
WHERE status = 'pending' AND number IS NULL
  AND NOT EXISTS (
      SELECT FROM provider_payments WHERE id = refunds.provider_payment_id AND disputed
  )
  AND created_at < now() - make_interval(secs => :seconds)
ORDER BY accepted_at IS NOT NULL OR short_at IS NOT NULL, tries, created_at
LIMIT :limit OFFSET :skip
""")

ASKED_REFUNDS = text("""
SELECT booking_id, number FROM refunds
WHERE status = 'pending' AND number IS NOT NULL
  AND created_at < now() - make_interval(secs => :seconds)
GROUP BY booking_id, number
ORDER BY bool_and(accepted_at IS NOT NULL OR short_at IS NOT NULL), max(tries), min(created_at)
LIMIT :limit OFFSET :skip
""")

UNFINISHED_CANCELLATIONS = text("""
SELECT show_id, paused FROM show_cancellations
WHERE status <> 'finished' AND requested_at < now() - make_interval(secs => :seconds)
ORDER BY requested_at, show_id LIMIT :limit OFFSET :skip
""")

SWEEP_KEYS = text("""
DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM idempotency_keys
    WHERE created_at < now() - make_interval(secs => :kept) ORDER BY created_at LIMIT 1000
))
""")
# A session that was ended stays as long as any token of it could live.
SWEEP_SESSIONS = text("""
DELETE FROM sessions WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM sessions
    WHERE expires_at < now() - make_interval(hours => 1) ORDER BY expires_at LIMIT 1000
))
""")
SWEEP_ACCOUNT_TOKENS = text("""
DELETE FROM account_tokens WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM account_tokens
    WHERE expires_at < now() - make_interval(days => 1) ORDER BY expires_at LIMIT 1000
))
""")


class PostgresWorkQueue:
    """Every step here is one statement: its own transaction, without a BEGIN and a COMMIT."""

    def __init__(
        self, database: Database, limits: HoldLimits, polls: PollSchedule = SCHEDULE
    ) -> None:
        self._database = database
        self._limits = limits
        self._polls = {
            "untils": [step.until.total_seconds() for step in polls.steps],
            "paces": [step.every.total_seconds() for step in polls.steps],
            "uncertain": polls.uncertain.total_seconds(),
        }

    async def _rows(self, statement: TextClause, **values: Any) -> list[Any]:
        async with self._database.statements() as session:
            return await session.all(statement, **values)

    async def _ids(self, statement: TextClause, **values: Any) -> list[UUID]:
        """The only column of its rows."""
        return [id_ for (id_,) in await self._rows(statement, **values)]

    async def _change(self, statement: TextClause, **values: Any) -> int:
        async with self._database.statements() as session:
            return await session.change(statement, **values)

    async def take_inbox(self, limit: int) -> Sequence[InboxRow]:
        rows = await self._rows(TAKE_INBOX, limit=limit)
        return [
            InboxRow(
                id=row.id,
                provider=row.provider,
                event_id=row.event_id,
                event_type=row.event_type,
                body=bytes(row.body),
                attempts=row.attempts,
                request_id=row.request_id,
                age_seconds=row.age_seconds,
                failures=row.failures,
                set_aside=row.set_aside,
            )
            for row in sorted(rows, key=lambda row: row.id)
        ]

    async def finish_inbox(self, row_ids: Sequence[int]) -> None:
        await self._change(FINISH_INBOX, ids=list(row_ids))

    async def quarantine_inbox(self, row_id: int, *, reason: str) -> None:
        await self._change(QUARANTINE_INBOX, id=row_id, reason=reason)

    async def put_back_inbox(
        self, row_id: int, *, seconds: float, reason: str, failed: bool = False
    ) -> None:
        await self._change(
            PUT_BACK_INBOX, id=row_id, seconds=seconds, reason=reason, failed=int(failed)
        )

    async def take_polls(self, limit: int) -> Sequence[Attempt]:
        rows = await self._rows(TAKE_POLLS, limit=limit, **self._polls)
        return [as_attempt(row) for row in rows]

    async def booking_input(self, booking_id: UUID) -> BookingInput | None:
        rows = await self._rows(INPUT, id=booking_id)
        if not rows:
            return None
        row, limits = rows[0], self._limits
        return BookingInput(
            booking_id=str(row.id),
            user_id=str(row.user_id),
            show_id=str(row.show_id),
            seats=[SeatChoice(*choice) for choice in zip(row.labels, row.types, strict=True)],
            hold_seconds=limits.hold_seconds,
            hold_max_seconds=limits.hold_max_seconds,
            grace_seconds=limits.grace_seconds,
            settling_grace_seconds=limits.settling_grace_seconds,
            payment_retry_seconds=limits.payment_retry_seconds,
            max_seats_per_user_show=limits.max_seats_per_user_show,
            max_live_holds_per_user=limits.max_live_holds_per_user,
        )

    async def overdue_bookings(
        self, *, seconds: float, limit: int, skip: int = 0
    ) -> Sequence[UUID]:
        return await self._ids(OVERDUE, seconds=seconds, limit=limit, skip=skip)

    async def settle_dead_requests(self) -> int:
        return await self._change(
            SETTLE_DEAD_REQUESTS, refusal=DEAD, seconds=REQUEST_TTL_SECONDS + 5
        )

    async def sweep(self) -> int:
        return max(
            await self._change(SWEEP_KEYS, kept=KEPT_SECONDS),
            await self._change(SWEEP_SESSIONS),
            await self._change(SWEEP_ACCOUNT_TOKENS),
        )

    async def undecided_captures(
        self, *, seconds: float, limit: int, skip: int = 0
    ) -> Sequence[UUID]:
        return await self._ids(UNDECIDED, seconds=seconds, limit=limit, skip=skip)

    async def open_promises(self, *, seconds: float, limit: int, skip: int = 0) -> Sequence[UUID]:
        return await self._ids(PROMISED, seconds=seconds, limit=limit, skip=skip)

    async def overdue_offers(self, *, seconds: float, limit: int, skip: int = 0) -> Sequence[UUID]:
        return await self._ids(OVERDUE_OFFERS, seconds=seconds, limit=limit, skip=skip)

    async def pending_refunds(self, *, seconds: float, limit: int, skip: int = 0) -> Sequence[UUID]:
        return await self._ids(PENDING_REFUNDS, seconds=seconds, limit=limit, skip=skip)

    async def unfinished_cancellations(
        self, *, seconds: float, limit: int, skip: int = 0
    ) -> Sequence[tuple[UUID, str | None]]:
        rows = await self._rows(UNFINISHED_CANCELLATIONS, seconds=seconds, limit=limit, skip=skip)
        return [(row.show_id, row.paused) for row in rows]

    async def asked_refunds(
        self, *, seconds: float, limit: int, skip: int = 0
    ) -> Sequence[tuple[UUID, int]]:
        rows = await self._rows(ASKED_REFUNDS, seconds=seconds, limit=limit, skip=skip)
        return [(row.booking_id, row.number) for row in rows]
