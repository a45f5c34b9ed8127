"""Sessions: a page somebody can pay on until it is paid or expires."""

from __future__ import annotations

from datetime import timedelta
from sqlite3 import Connection, Row
from typing import Any

from seathold.standins.sandbox.answers import Refused
from seathold.standins.sandbox.events import announce
from seathold.standins.sandbox.shapes import NewSession
from seathold.standins.sandbox.store import Store, new_id
from seathold.standins.sandbox.times import from_datetime, to_datetime, to_text

LONGEST_SESSION = timedelta(days=30)

OPEN_SESSION = """
INSERT INTO sessions (id, status, amount, currency, reference, mode, return_url,
                      expires_at_us, created_at_us)
VALUES (?, 'open', ?, ?, ?, ?, ?, ?, ?)
"""


def open_session(conn: Connection, wish: NewSession, now: int) -> str:
    """Open a session and return its id.

    Raises:
        Refused: 400 when ``expires_at`` is past or further away than 30 days.
    """
    if not to_datetime(now) < wish.expires_at <= to_datetime(now) + LONGEST_SESSION:
        raise Refused(400, "invalid", "expires_at: must lie in the next 30 days")
    session_id = new_id("ses")
    conn.execute(
        OPEN_SESSION,
        (
            session_id,
            wish.amount,
            wish.currency,
            wish.reference,
            wish.mode,
            wish.return_url,
            from_datetime(wish.expires_at),
            now,
        ),
    )
    return session_id


def session_row(conn: Connection, session_id: str) -> Row:
    """The stored session.

    Raises:
        Refused: 404.
    """
    row: Row | None = conn.execute("SELECT * FROM sessions WHERE id = ?", (session_id,)).fetchone()
    if row is None:
        raise Refused(404, "not_found", "no such session")
    return row


def expire(conn: Connection, session: Row, now: int) -> None:
    """Close an open session for good; in any other state nothing happens.

    A session with money in flight (``processing``) cannot be closed, as at real providers.
    """
    if session["status"] == "open":
        close_unpaid(conn, session, now)


def close_unpaid(conn: Connection, session: Row, now: int) -> None:
    """Mark the session expired and, the first time, say so."""
    conn.execute(
        "UPDATE sessions SET status = 'expired', expired_at_us = coalesce(expired_at_us, ?) "
        "WHERE id = ?",
        (now, session["id"]),
    )
    if session["expired_at_us"] is None:
        data = {
            "session_id": session["id"],
            "reference": session["reference"],
            "status": "expired",
        }
        announce(conn, "session.expired", data, now)


def expire_due(store: Store, now: int) -> int:
    """Expire every open session whose time has come; returns how many."""
    due = store.read.execute(
        "SELECT * FROM sessions WHERE status = 'open' AND expires_at_us <= ?", (now,)
    ).fetchall()
    if due:
        with store.write() as conn:
            for session in due:
                expire(conn, session, now)
    return len(due)


def session_view(session: Row, payments: list[dict[str, Any]], public_url: str) -> dict[str, Any]:
    """The session as clients see it."""
    return {
        "id": session["id"],
        "status": session["status"],
        "amount": session["amount"],
        "currency": session["currency"],
        "reference": session["reference"],
        "mode": session["mode"],
        "url": f"{public_url}/pay/{session['id']}",
        "return_url": session["return_url"],
        "expires_at": to_text(session["expires_at_us"]),
        "created_at": to_text(session["created_at_us"]),
        "payments": payments,
    }
