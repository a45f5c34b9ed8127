"""Money going back: refunds the merchant asks for, and disputes the buyer wins."""

from __future__ import annotations

from sqlite3 import Connection, Row
from typing import Any

from seathold.standins.sandbox.answers import Refused
from seathold.standins.sandbox.events import announce
from seathold.standins.sandbox.payments import payment_row
from seathold.standins.sandbox.shapes import NewRefund, ScriptedDispute
from seathold.standins.sandbox.store import new_id
from seathold.standins.sandbox.times import to_text

MOVE_MONEY = """
UPDATE payments SET refunded = refunded + ?, refund_pending = refund_pending + ?,
                    status = CASE WHEN refunded + ? = captured THEN 'refunded'
                                  ELSE 'captured' END,
                    change = (SELECT max(change) + 1 FROM payments), updated_at_us = ?
WHERE id = ?
"""

SET_DISPUTE = """
UPDATE payments SET dispute = ?, disputed = ?, charged_back = ?,
                    change = (SELECT max(change) + 1 FROM payments), updated_at_us = ?
WHERE id = ?
"""

INSERT_REFUND = """
INSERT INTO refunds (id, payment_id, amount, currency, status, idempotency_key, created_at_us)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""


def refund_row(conn: Connection, refund_id: str) -> Row:
    """The stored refund.

    Raises:
        Refused: 404.
    """
    row: Row | None = conn.execute("SELECT * FROM refunds WHERE id = ?", (refund_id,)).fetchone()
    if row is None:
        raise Refused(404, "not_found", "no such refund")
    return row


def refundable(payment: Row) -> int:
    """What may still be given back, in minor units."""
    gone: int = payment["refunded"] + payment["refund_pending"] + payment["charged_back"]
    return int(payment["captured"]) - gone


def refund(conn: Connection, wish: NewRefund, outcome: str, key: str | None, now: int) -> str:
    """Give money back and return the refund's id; ``outcome`` is how it ends at the bank.

    Raises:
        Refused: 404 for an unknown payment; 409 when it is disputed, in another currency, or less
            than ``wish.amount`` is left of what was captured.
    """
    payment = payment_row(conn, wish.payment_id)
    if payment["dispute"] == "open":
        raise Refused(409, "payment_disputed", "no refunds while a dispute is open")
    if wish.currency not in (None, payment["currency"]):
        raise Refused(409, "wrong_currency", f"the payment is in {payment['currency']}")
    if wish.amount > refundable(payment):
        raise Refused(
            409, "exceeds_captured", f"at most {refundable(payment)} may still be refunded"
        )
    refund_id = new_id("ref")
    values = (refund_id, payment["id"], wish.amount, payment["currency"], outcome, key, now)
    conn.execute(INSERT_REFUND, values)
    if outcome == "succeeded":
        move_money(conn, payment["id"], wish.amount, 0, now)
    elif outcome == "pending":
        move_money(conn, payment["id"], 0, wish.amount, now)
    if outcome != "pending":
        announce_refund(conn, refund_id, now)
    return refund_id


def settle_refund(conn: Connection, row: Row, outcome: str, now: int) -> None:
    """End a pending refund, or let a succeeded one fail after all, as banks do.

    Raises:
        Refused: 409 when a failed refund should succeed: real ones never do.
    """
    was, amount = row["status"], row["amount"]
    if was == outcome:
        return
    if was == "failed":
        raise Refused(409, "invalid_state", "a failed refund never succeeds")
    settled = amount if outcome == "succeeded" else 0
    counted = amount if was == "succeeded" else 0
    pending = amount if was == "pending" else 0
    move_money(conn, row["payment_id"], settled - counted, -pending, now)
    conn.execute("UPDATE refunds SET status = ? WHERE id = ?", (outcome, row["id"]))
    announce_refund(conn, row["id"], now)


def move_money(conn: Connection, payment_id: str, refunded: int, pending: int, now: int) -> None:
    conn.execute(MOVE_MONEY, (refunded, pending, refunded, now, payment_id))


def announce_refund(conn: Connection, refund_id: str, now: int) -> None:
    row = refund_row(conn, refund_id)
    payment = payment_row(conn, row["payment_id"])
    data = {
        "refund_id": row["id"],
        "payment_id": payment["id"],
        "session_id": payment["session_id"],
        "reference": payment["reference"],
        "amount": row["amount"],
        "currency": row["currency"],
        "status": row["status"],
    }
    announce(conn, f"refund.{row['status']}", data, now)


def dispute(conn: Connection, payment: Row, act: ScriptedDispute, now: int) -> None:
    """Open a dispute over what was captured and not refunded, and close it unless only opened.

    With ``act.amount`` also over what was refunded, as banks do; that much cannot be lost.

    Raises:
        Refused: 409 when there is nothing to dispute, the dispute is over, or what is lost went
            back before.
    """
    if payment["dispute"] in ("won", "lost"):
        raise Refused(409, "invalid_state", f"the dispute was {payment['dispute']}")
    amount = payment["disputed"] or act.amount or refundable(payment)
    if not 0 < amount <= payment["captured"]:
        raise Refused(409, "nothing_captured", "there is nothing to dispute")
    if act.outcome == "lost" and amount > refundable(payment):
        raise Refused(409, "refunded", "what went back before cannot be lost again")
    if payment["dispute"] is None:
        set_dispute(conn, payment, "open", amount, 0, now)
        announce(conn, "dispute.opened", dispute_data(payment, amount, "open"), now)
    if act.outcome != "opened":
        lost = amount if act.outcome == "lost" else 0
        set_dispute(conn, payment, act.outcome, amount, lost, now)
        announce(conn, "dispute.closed", dispute_data(payment, amount, act.outcome), now)


def set_dispute(
    conn: Connection, payment: Row, state: str, amount: int, lost: int, now: int
) -> None:
    conn.execute(SET_DISPUTE, (state, amount, lost, now, payment["id"]))


def dispute_data(payment: Row, amount: int, status: str) -> dict[str, Any]:
    return {
        "payment_id": payment["id"],
        "session_id": payment["session_id"],
        "reference": payment["reference"],
        "amount": amount,
        "currency": payment["currency"],
        "status": status,
    }


def refund_view(row: Row) -> dict[str, Any]:
    """The refund as clients see it."""
    told = ("id", "payment_id", "amount", "currency", "status")
    return {**{key: row[key] for key in told}, "created_at": to_text(row["created_at_us"])}


def ledger_refunds(conn: Connection) -> list[dict[str, Any]]:
    """Every refund with the key it was asked for under."""
    rows = conn.execute("SELECT * FROM refunds ORDER BY created_at_us, id")
    return [{**refund_view(row), "idempotency_key": row["idempotency_key"]} for row in rows]
