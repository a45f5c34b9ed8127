"""Everything that is stored of a person, for them to take along."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text

from infra.postgres.database import Session
from readmodel import bookings, users
from readmodel.instants import stamp

# Nobody has that many; a limit all the same.
MOST = 10_000
PAGE = 500

MESSAGES = text("""
SELECT template, channel, state, sent_at, created_at FROM notification_outbox
WHERE user_id = :id AND booking_id IS NULL ORDER BY created_at LIMIT :limit
""")

# Each booking's messages by its own index.
BOOKING_MESSAGES = text("""
SELECT notice.template, channel, notice.state, sent_at, notice.created_at
FROM bookings JOIN notification_outbox AS notice ON notice.booking_id = bookings.id
WHERE bookings.user_id = :id ORDER BY notice.created_at LIMIT :limit
""")

EVENTS = text("""
SELECT event_type, created_at FROM events WHERE aggregate_id = :id ORDER BY sequence LIMIT :limit
""")


async def read(session: Session, user_id: UUID, *, current: UUID) -> dict[str, Any] | None:
    """The account, its sessions, bookings with their money, messages, and what was done to it."""
    account = await users.read(session, user_id)
    if account is None:
        return None
    made = await _bookings(session, user_id)
    told = [
        *await session.all(MESSAGES, id=user_id, limit=MOST),
        *await session.all(BOOKING_MESSAGES, id=user_id, limit=MOST),
    ]
    done = await session.all(EVENTS, id=user_id, limit=MOST)
    return {
        "user": account,
        "sessions": (await users.sessions(session, user_id, current=current))["items"],
        "bookings": made,
        "messages": [
            {
                "template": row.template,
                "channel": row.channel,
                "state": row.state,
                "queued_at": stamp(row.created_at),
                "sent_at": stamp(row.sent_at) if row.sent_at else None,
            }
            for row in sorted(told, key=lambda row: row.created_at)
        ],
        "events": [{"at": stamp(row.created_at), "type": row.event_type} for row in done],
    }


async def _bookings(session: Session, user_id: UUID) -> list[dict[str, Any]]:
    found, before = await bookings.of_user(session, user_id, state=None, limit=PAGE, before=None)
    while before is not None and len(found) < MOST:
        page, before = await bookings.of_user(
            session, user_id, state=None, limit=PAGE, before=before
        )
        found += page
    return found
