"""The clean town: one booking in each state, and what the provider and the mail sink know of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tests.check.builders import (
    PRICE,
    Brief,
    Command,
    Connection,
    add_booking,
    add_notices,
    add_posting,
    add_show,
    id_of,
    insert,
)

PAID, EXTRA, LATE = "pay_one", "pay_extra", "pay_late"
EUR = "EUR"
# The town is built once and copied for hours: what is open in it must not run out meanwhile.
OPEN_MINUTES = 2 * 24 * 60
SENT_BACK = (
    ("refund_requested", "buyer", "refunds_due"),
    ("refund_settled", "refunds_due", "provider"),
)


def queued(template: str) -> tuple[str, dict[str, Any]]:
    return "NotificationQueued", {"template": template}


def started(name: str, minutes_ago: float, hold_minutes: float = 12) -> tuple[Command, datetime]:
    """A checkout, and the hold's end that it set."""
    ends = datetime.now(UTC) - timedelta(minutes=minutes_ago - hold_minutes)
    payload = {"payment_id": str(id_of(f"attempt-{name}")), "hold_expires_at": ends.isoformat()}
    return [("PaymentStarted", payload)], ends


def refunded(payment: str) -> Sequence[Command]:
    return [
        [("RefundRequested", {"provider_payment_id": str(id_of(payment))}), queued("refund")],
        [("RefundSettled", {"refund_id": str(id_of(f"refund-{payment}"))})],
    ]


def closed(event_type: str, why: str, labels: Sequence[str]) -> Command:
    ended = (event_type, {"why": why, "note": "", "payment_uncertain": False})
    return [ended, ("SeatReleased", {"labels": list(labels)})]


def build(db: Connection) -> None:
    """Write the town down; everything in it is as it must be."""
    add_show(db)
    add_confirmed(db)
    add_ended(db)
    add_open(db)
    inbox = {"provider": "sandbox", "event_type": "payment.captured", "body": b"{}"}
    done = {"status": "done", "processed_at": datetime.now(UTC)}
    insert(db, "webhook_inbox", {**inbox, "event_id": "evt_one", **done})
    quarantined = {"status": "quarantined", "reason": "no booking has this session"}
    insert(db, "webhook_inbox", {**inbox, "event_id": "evt_two", **done, **quarantined})
    # One that is new, and one that somebody has been at for two days.
    db.execute(
        "INSERT INTO cases (id, kind, dedupe, summary, status, assignee, opened_at)"
        " VALUES (gen_random_uuid(), 'unknown_payment', 'new', 'x', 'open', NULL, now()),"
        " (gen_random_uuid(), 'unknown_payment', 'old', 'x', 'assigned', %s,"
        " now() - interval '2 days')",
        (id_of("ada"),),
    )


def add_confirmed(db: Connection) -> None:
    """Two seats sold, the page paid twice by accident, the second payment given back."""
    checkout, ends = started("confirmed", 60)
    money = id_of(PAID)
    commands = [
        checkout,
        [("PaymentVerified", {"provider_payment_id": str(money)})],
        [("BookingConfirmed", {"provider_payment_id": str(money)}), queued("confirmation")],
        *refunded(EXTRA),
    ]
    row = {"lapses": False, "hold_expires_at": ends}
    brief = Brief("confirmed", "confirmed", ("A1", "A2"), commands, row=row)
    add_booking(db, brief)
    add_payment(db, "confirmed", "captured", brief.total)
    add_provider_payment(db, PAID, "confirmed", "confirms", brief.total)
    add_provider_payment(db, EXTRA, "confirmed", "duplicate", brief.total)
    db.execute(
        "UPDATE bookings SET provider_payment_id = %s WHERE id = %s", (money, id_of("confirmed"))
    )
    add_notices(db, "confirmed", "confirmation")
    add_notices(db, "confirmed", "refund")


def add_ended(db: Connection) -> None:
    """A hold that lapsed, and one that was cancelled and paid for too late."""
    lapsed: Command = [*closed("BookingExpired", "lapsed", ["A3"]), queued("lapse")]
    add_booking(db, Brief("lapsed", "expired", ("A3",), [lapsed], row={"close_reason": "lapsed"}))
    add_notices(db, "lapsed", "lapse")
    checkout, ends = started("cancelled", 60)
    cancelling: Command = [("BookingCancelling", {"why": "cancelled", "note": ""})]
    commands = [
        checkout,
        cancelling,
        closed("BookingCancelled", "cancelled", ["A4"]),
        *refunded(LATE),
    ]
    row = {
        "lapses": False,
        "hold_expires_at": ends,
        "closing_since": ends,
        "close_reason": "cancelled",
    }
    add_booking(db, Brief("cancelled", "cancelled", ("A4",), commands, row=row))
    add_payment(db, "cancelled", "refunded", PRICE)
    add_provider_payment(db, LATE, "cancelled", "cancelled", PRICE)
    add_notices(db, "cancelled", "refund")


def add_open(db: Connection) -> None:
    young: dict[str, Any] = {"minutes_ago": 1, "hold_minutes": OPEN_MINUTES, "user": "bob"}
    add_booking(db, Brief("held", "held", ("A5",), **young))
    for name, event_type, why in (
        ("expiring", "BookingExpiring", "lapsed"),
        ("cancelling", "BookingCancelling", "cancelled"),
    ):
        checkout, ends = started(name, 1, OPEN_MINUTES)
        commands: list[Command] = [checkout, [(event_type, {"why": why, "note": ""})]]
        row = {
            "lapses": False,
            "hold_expires_at": ends,
            # The grace for its page is counted from here.
            "closing_since": ends,
            "close_reason": why,
        }
        label = {"expiring": "A6", "cancelling": "A7"}[name]
        add_booking(db, Brief(name, name, (label,), commands, row=row, **young))
        add_payment(db, name, "open", PRICE)


def add_payment(db: Connection, booking: str, status: str, amount: int) -> None:
    payment = {
        "id": id_of(f"attempt-{booking}"),
        "booking_id": id_of(booking),
        "attempt": 1,
        "provider": "sandbox",
        "session_id": f"ses_{booking}",
        "status": status,
        "amount": amount,
        "currency": EUR,
        "expires_at": datetime.now(UTC),
        "session_open": status == "open",
    }
    insert(db, "payments", payment)


def add_provider_payment(
    db: Connection, reference: str, booking: str, decision: str, amount: int
) -> None:
    """A captured payment, and its refund unless it confirms."""
    back = decision != "confirms"
    paid = {
        "id": id_of(reference),
        "provider": "sandbox",
        "reference": reference,
        "booking_id": id_of(booking),
        "payment_id": id_of(f"attempt-{booking}"),
        "status": "captured",
        "amount": amount,
        "currency": EUR,
        "captured": amount,
        "refunded": amount if back else 0,
        "decision": decision,
    }
    insert(db, "provider_payments", paid)
    add_posting(db, "captured", paid, "provider", "buyer")
    if not back:
        add_posting(db, "confirmed", paid, "buyer", "revenue")
    else:
        refund = {
            "id": id_of(f"refund-{reference}"),
            "booking_id": id_of(booking),
            "provider_payment_id": id_of(reference),
            "idempotency_key": f"key-{reference}",
            "reason": decision,
            "status": "succeeded",
            "amount": amount,
            "currency": EUR,
            "reference": f"ref_{reference}",
            "settled_at": datetime.now(UTC) - timedelta(minutes=30),
        }
        insert(db, "refunds", refund)
        for kind, debit, credit in SENT_BACK:
            add_posting(db, kind, paid, debit, credit, refund_id=id_of(f"refund-{reference}"))


def ledger() -> dict[str, Any]:
    """What the provider's own books say of this town."""
    return {
        "payments": [
            provider_payment(PAID, "confirmed", 2 * PRICE),
            provider_payment(EXTRA, "confirmed", 2 * PRICE, refunded=2 * PRICE),
            provider_payment(LATE, "cancelled", PRICE, refunded=PRICE),
        ],
        "refunds": [provider_refund(EXTRA, 2 * PRICE), provider_refund(LATE, PRICE)],
        "events": [
            {
                "id": "evt_one",
                "type": "payment.captured",
                "deliveries": [{"state": "done", "attempts": 1, "last_status": 204}],
            }
        ],
    }


def provider_payment(
    reference: str, booking: str, captured: int, *, refunded: int = 0, minutes_ago: float = 55
) -> dict[str, Any]:
    return {
        "id": reference,
        "session_id": f"ses_{booking}",
        "reference": str(id_of(booking)),
        "status": "captured",
        "amount": captured,
        "currency": EUR,
        "captured": captured,
        "refunded": refunded,
        "charged_back": 0,
        "dispute": None,
        "updated_at": (datetime.now(UTC) - timedelta(minutes=minutes_ago)).isoformat(),
    }


def provider_refund(reference: str, amount: int) -> dict[str, Any]:
    return {
        "id": f"ref_{reference}",
        "payment_id": reference,
        "amount": amount,
        "currency": EUR,
        "status": "succeeded",
        "idempotency_key": f"key-{reference}",
    }


def mails() -> list[dict[str, Any]]:
    """What the sink received: each notification of the town once, by each channel."""
    told = [("confirmed", "confirmation"), ("confirmed", "refund"), ("lapsed", "lapse")]
    return [
        message(id_of(booking), template, channel)
        for booking, template in [*told, ("cancelled", "refund")]
        for channel in ("email", "sms")
    ]


def message(booking: UUID, template: str, channel: str) -> dict[str, Any]:
    return {
        "id": f"{channel}-{template}-{booking}",
        "channel": channel,
        "to": "ada@example.test" if channel == "email" else "+493",
        "headers": {"Message-ID": f"<{booking}-{template}-1@seathold.test>"},
        "received_at": (datetime.now(UTC) - timedelta(minutes=49)).isoformat(),
    }
