"""Cases: opened once, changed only as the version was read."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from domain import ids
from domain.case import Case, CaseKind, CaseStatus
from infra.postgres.database import Database, Session
from services.case import Waiting

# Whatever the conflict: the id is made from the dedupe text, so either index may meet it first.
OPEN = text("""
WITH opened AS (
    INSERT INTO cases (id, kind, dedupe, summary, booking_id, provider_payment_id, refund_id)
    VALUES (:id, :kind, :dedupe, :summary, :booking_id, :provider_payment_id, :refund_id)
    ON CONFLICT DO NOTHING
    RETURNING id, booking_id
)
UPDATE bookings SET case_id = opened.id FROM opened WHERE bookings.id = opened.booking_id
""")

FIND = text("SELECT id, status, version, booking_id, assignee FROM cases WHERE id = :id")

# Those who may resolve one: see the routes of cases in api/policy.py.
IS_STAFF = text("SELECT 1 FROM users WHERE id = :id AND role IN ('owner', 'manager')")

ASSIGN = text("""
UPDATE cases SET status = 'assigned', assignee = :assignee, assigned_at = clock_timestamp(),
    version = version + 1
WHERE id = :id AND version = :version AND status <> 'resolved'
""")

# The booking goes on naming the newest case that is still open, or none.
RESOLVE = text("""
WITH resolved AS (
    UPDATE cases SET status = 'resolved', resolution = :resolution,
        resolved_at = clock_timestamp(), version = version + 1
    WHERE id = :id AND version = :version AND status <> 'resolved'
    RETURNING id, booking_id
), named AS (
    UPDATE bookings SET case_id = (
        SELECT id FROM cases
        WHERE cases.booking_id = bookings.id AND status <> 'resolved' AND id <> :id
        ORDER BY opened_at DESC, id DESC LIMIT 1
    )
    FROM resolved WHERE bookings.id = resolved.booking_id
)
SELECT id FROM resolved
""")

# now() and not clock_timestamp(): only a stable function can be looked up in the index.
TAKE_WAITING = text("""
UPDATE cases SET alerted_at = now()
WHERE status <> 'resolved' AND opened_at < now() - make_interval(secs => :seconds)
  AND (alerted_at IS NULL OR alerted_at <= now() - make_interval(secs => :every_seconds))
RETURNING id, kind, status, booking_id, extract(epoch FROM now() - opened_at)::float8 AS age
""")


class PostgresCases:
    """See ``services.ports.Cases``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def open(
        self,
        kind: CaseKind,
        *,
        dedupe: str,
        summary: str,
        booking_id: UUID | None = None,
        provider_payment_id: UUID | None = None,
        refund_id: UUID | None = None,
    ) -> None:
        self._session.later(
            OPEN,
            id=ids.case_id(dedupe),
            kind=kind,
            dedupe=dedupe,
            summary=summary,
            booking_id=booking_id,
            provider_payment_id=provider_payment_id,
            refund_id=refund_id,
        )

    async def find(self, case_id: UUID) -> Case | None:
        row = await self._session.one(FIND, id=case_id)
        if row is None:
            return None
        return Case(row.id, CaseStatus(row.status), row.version, row.booking_id, row.assignee)

    async def is_staff(self, user_id: UUID) -> bool:
        return await self._session.one(IS_STAFF, id=user_id) is not None

    async def assign(self, case: Case, assignee: UUID) -> bool:
        changed = await self._session.change(
            ASSIGN, id=case.id, version=case.version, assignee=assignee
        )
        return changed == 1

    async def resolve(self, case: Case, resolution: str) -> bool:
        row = await self._session.one(
            RESOLVE, id=case.id, version=case.version, resolution=resolution
        )
        return row is not None


class PostgresWaitingCases:
    """See ``services.case.WaitingCases``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, *, seconds: float, every_seconds: float) -> Sequence[Waiting]:
        async with self._database.statements() as session:
            rows = await session.all(TAKE_WAITING, seconds=seconds, every_seconds=every_seconds)
        return [Waiting(row.id, row.kind, row.status, row.booking_id, row.age) for row in rows]
