"""Payments: made on a session, then captured, voided or failed."""

from __future__ import annotations

from sqlite3 import Connection, Row
from typing import Any

from seathold.standins.sandbox.answers import Refused
from seathold.standins.sandbox.events import announce, emit, schedule
from seathold.standins.sandbox.sessions import close_unpaid
from seathold.standins.sandbox.shapes import ScriptedPay
from seathold.standins.sandbox.store import new_id
from seathold.standins.sandbox.times import to_text

# `change` numbers every change of any payment, so a list by it misses none between two pages.
INSERT_PAYMENT = """
INSERT INTO payments (id, session_id, reference, status, amount, currency, change,
                      created_at_us, updated_at_us)
VALUES (?, ?, ?, 'processing', ?, ?,
        (SELECT coalesce(max(change), 0) + 1 FROM payments), ?, ?)
"""

UPDATE_PAYMENT = """
UPDATE payments SET status = ?, amount = ?, currency = ?, captured = ?, fee = ?,
                    change = (SELECT max(change) + 1 FROM payments), updated_at_us = ?
WHERE id = ?
"""


def payment_row(conn: Connection, payment_id: str) -> Row:
    """The stored payment.

    Raises:
        Refused: 404.
    """
    row: Row | None = conn.execute("SELECT * FROM payments WHERE id = ?", (payment_id,)).fetchone()
    if row is None:
        raise Refused(404, "not_found", "no such payment")
    return row


def pay(conn: Connection, session: Row, act: ScriptedPay, now: int) -> str:
    """Pay on a session, or settle the payment that is in flight on it; returns the payment id.

    Raises:
        Refused: 409 ``session_closed`` when it is paid or expired and ``force`` is not given.
    """
    payment = conn.execute(
        "SELECT * FROM payments WHERE session_id = ? AND status = 'processing'", (session["id"],)
    ).fetchone()
    fresh = payment is None
    if payment is None:
        if session["status"] != "open" and not act.force:
            raise Refused(409, "session_closed", f"the session is {session['status']}")
        payment = start_payment(conn, session, now)
    payment_id: str = payment["id"]
    if act.outcome == "processing" and not fresh:
        return payment_id
    amount = act.amount or payment["amount"]
    captured = amount if act.outcome == "captured" else 0
    currency = act.currency or payment["currency"]
    fee = fee_of(captured)
    conn.execute(UPDATE_PAYMENT, (act.outcome, amount, currency, captured, fee, now, payment_id))
    move_session(conn, session, act.outcome, now)
    data = event_data(payment_row(conn, payment_id))
    events = []
    if act.outcome == "captured" and session["mode"] == "authorise":
        before = {**data, "status": "authorised", "captured": 0}
        events.append(emit(conn, "payment.authorised", before, now))
    events.append(emit(conn, f"payment.{act.outcome}", data, now))
    schedule(conn, events, act.webhooks, now)
    return payment_id


def start_payment(conn: Connection, session: Row, now: int) -> Row:
    payment_id = new_id("pay")
    conn.execute(
        INSERT_PAYMENT,
        (
            payment_id,
            session["id"],
            session["reference"],
            session["amount"],
            session["currency"],
            now,
            now,
        ),
    )
    return payment_row(conn, payment_id)


def move_session(conn: Connection, session: Row, outcome: str, now: int) -> None:
    """What a payment's outcome does to its session.

    A failed payment leaves an open session open: the buyer may try another card. After a failure
    of money in flight the session is open again if there is time left, else expired.
    """
    was = session["status"]
    if outcome in ("captured", "authorised"):
        status = "paid"
    elif outcome == "processing" and was != "paid":
        status = "processing"
    elif outcome == "failed" and was == "processing":
        if session["expired_at_us"] is not None or session["expires_at_us"] <= now:
            close_unpaid(conn, session, now)
            return
        status = "open"
    else:
        return
    conn.execute("UPDATE sessions SET status = ? WHERE id = ?", (status, session["id"]))


def capture(conn: Connection, payment: Row, amount: int | None, now: int) -> None:
    """Take an authorised payment, whole or in part; a repeat of the same is no change.

    Raises:
        Refused: 409 when it is not authorised, or ``amount`` is more than was authorised.
    """
    wanted = amount or payment["amount"]
    if payment["status"] in ("captured", "refunded") and payment["captured"] == wanted:
        return
    if payment["status"] != "authorised":
        raise Refused(409, "invalid_state", f"the payment is {payment['status']}")
    if wanted > payment["amount"]:
        raise Refused(409, "exceeds_authorised", "more than was authorised")
    change_status(conn, payment, "captured", wanted, now)


def void(conn: Connection, payment: Row, now: int) -> None:
    """Release an authorised payment; a repeat is no change.

    Raises:
        Refused: 409 when it is not authorised.
    """
    if payment["status"] == "voided":
        return
    if payment["status"] != "authorised":
        raise Refused(409, "invalid_state", f"the payment is {payment['status']}")
    change_status(conn, payment, "voided", 0, now)


def change_status(conn: Connection, payment: Row, status: str, captured: int, now: int) -> None:
    told = (status, payment["amount"], payment["currency"], captured, fee_of(captured))
    conn.execute(UPDATE_PAYMENT, (*told, now, payment["id"]))
    announce(conn, f"payment.{status}", event_data(payment_row(conn, payment["id"])), now)


def fee_of(captured: int) -> int:
    """What the provider keeps for itself, also when the money goes back: 1.5 % and 25 units."""
    return min(captured, captured * 15 // 1000 + 25) if captured else 0


def payments_of(conn: Connection, session_id: str) -> list[dict[str, Any]]:
    """Every payment made on a session, oldest first."""
    rows = conn.execute(
        "SELECT * FROM payments WHERE session_id = ? ORDER BY created_at_us, change", (session_id,)
    )
    return [payment_view(row) for row in rows]


def changed_payments(conn: Connection, since_us: int, after: int, limit: int) -> list[Row]:
    """Payments changed at ``since_us`` or later, by change number, from ``after`` on."""
    return conn.execute(
        "SELECT * FROM payments WHERE change > ? AND updated_at_us >= ? ORDER BY change LIMIT ?",
        (after, since_us, limit),
    ).fetchall()


def payment_view(row: Row) -> dict[str, Any]:
    """The payment as clients see it."""
    return {
        "id": row["id"],
        "session_id": row["session_id"],
        "reference": row["reference"],
        "status": row["status"],
        "amount": row["amount"],
        "currency": row["currency"],
        "captured": row["captured"],
        "refunded": row["refunded"],
        "fee": row["fee"],
        "charged_back": row["charged_back"],
        "dispute": row["dispute"],
        "disputes": disputes_of(row),
        "created_at": to_text(row["created_at_us"]),
        "updated_at": to_text(row["updated_at_us"]),
    }


def disputes_of(row: Row) -> list[dict[str, Any]]:
    """The payment's one dispute, if it has any; ``amount`` is withdrawn while it is open."""
    if row["dispute"] is None:
        return []
    dispute_id = row["id"].replace("pay_", "dsp_")
    told = {"amount": row["disputed"], "currency": row["currency"], "status": row["dispute"]}
    return [{"id": dispute_id, **told}]


def event_data(row: Row) -> dict[str, Any]:
    """The payment as its webhooks tell it."""
    told = ("session_id", "reference", "status", "amount", "currency", "captured", "refunded")
    return {"payment_id": row["id"], **{key: row[key] for key in told}}
