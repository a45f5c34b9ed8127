"""How far the cancellation of a show is."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text

from infra.postgres.database import Session
from infra.postgres.show_cancel import PostgresShows
from readmodel.bookings import Json
from readmodel.instants import stamp

BY_SHOW = text("SELECT * FROM show_cancellations WHERE show_id = :show_id")


async def read(session: Session, show_id: UUID) -> Json | None:
    """The cancellation; its report as things stand, and once it is over, as it was kept."""
    row = await session.one(BY_SHOW, show_id=show_id)
    if row is None:
        return None
    report = row.report
    if report is None:
        report = (await PostgresShows(session).report(show_id)).as_json()
    return {
        "show_id": str(row.show_id),
        "status": row.status,
        "reason": row.reason,
        "actor": row.actor,
        "paused": row.paused,
        "requested_at": stamp(row.requested_at),
        "finished_at": stamp(row.finished_at) if row.finished_at else None,
        "plan": row.plan,
        "report": report,
    }
