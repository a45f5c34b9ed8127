"""Disputes, clean and then breached: by SQL, or by what the provider says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.check.builders import (
    PRICE,
    Brief,
    Command,
    Connection,
    add_booking,
    add_posting,
    id_of,
    insert,
)
from tests.check.conftest import Checker, Witnesses
from tests.check.test_ledger_breaches import rewrite
from tests.check.test_seeded_breaches import Spoil, by
from tests.check.town import (
    EUR,
    add_payment,
    add_provider_payment,
    message,
    provider_payment,
    queued,
    started,
)

LONG_AGO = datetime.now(UTC) - timedelta(minutes=40)
OPEN, WON, LOST = "open", "won", "lost"
SEATS = {OPEN: "A8", WON: "A9", LOST: "A10"}
STATES = {OPEN: "disputed", WON: "confirmed", LOST: "charged_back"}


def disputed(db: Connection, how: str) -> None:
    """A booking of one seat that was paid and then disputed."""
    checkout, ends = started(how, 60)
    paid, told = id_of(f"pay_{how}"), {"reference": f"dsp_{how}", "amount": PRICE}
    label = SEATS[how]
    commands: list[Command] = [
        checkout,
        [("BookingConfirmed", {"provider_payment_id": str(paid)}), queued("confirmation")],
        [("DisputeOpened", told)],
        [("BookingDisputed", {})],
    ]
    if how == WON:
        commands += [[("DisputeClosed", {**told, "outcome": how})], [("BookingRestored", {})]]
    if how == LOST:
        freed = {"labels": [label]}
        ended = [("BookingChargedBack", freed), ("SeatReleased", freed), queued("charged_back")]
        commands += [[("DisputeClosed", {**told, "outcome": how})], ended]
    row = {"lapses": False, "hold_expires_at": ends, "seat_count": 0 if how == LOST else 1}
    add_booking(db, Brief(how, STATES[how], (label,), commands, user="bob", row=row))
    add_payment(db, how, "captured", PRICE)
    add_provider_payment(db, f"pay_{how}", how, "confirms", PRICE)
    db.execute("UPDATE bookings SET provider_payment_id = %s WHERE id = %s", (paid, id_of(how)))
    add_dispute(db, how)
    if how == LOST:
        db.execute(
            "UPDATE booking_seats SET released_at = now() WHERE booking_id = %s", (id_of(how),)
        )


def add_dispute(db: Connection, how: str) -> None:
    """Its row, the marks that follow, its postings and what the buyer was told."""
    paid = id_of(f"pay_{how}")
    row = {
        "id": id_of(f"dispute-{how}"),
        "provider_payment_id": paid,
        "booking_id": id_of(how),
        "reference": f"dsp_{how}",
        "status": how,
        "amount": PRICE,
        "currency": EUR,
        "opened_at": LONG_AGO,
        "borne_by": "revenue" if how == LOST else None,
        "closed_at": None if how == OPEN else LONG_AGO + timedelta(minutes=5),
    }
    insert(db, "disputes", row)
    if how != WON:
        db.execute("UPDATE provider_payments SET disputed = true WHERE id = %s", (paid,))
        db.execute("UPDATE payments SET disputed = true WHERE booking_id = %s", (id_of(how),))
    moved = {
        "id": paid,
        "booking_id": id_of(how),
        "provider": "sandbox",
        "currency": EUR,
        "captured": PRICE,
    }
    add_posting(db, "dispute_opened", moved, "disputed", "provider")
    if how == WON:
        add_posting(db, "dispute_won", moved, "provider", "disputed")
    if how == LOST:
        add_posting(db, "dispute_lost", moved, "revenue", "disputed")
    for template in templates(how):
        notice = {"booking_id": id_of(how), "user_id": id_of("bob"), "template": template}
        sent = {"state": "sent", "attempts": 1, "sent_at": LONG_AGO, "channel": "email"}
        insert(db, "notification_outbox", {**notice, **sent})


def templates(how: str) -> tuple[str, ...]:
    return ("confirmation", "charged_back") if how == LOST else ("confirmation",)


@pytest.fixture
def town(db: Connection, witnesses: Witnesses) -> Connection:
    """The clean town with three more bookings: in dispute, won and lost."""
    for how in SEATS:
        disputed(db, how)
        told = {"id": f"dsp_{how}", "amount": PRICE, "currency": EUR, "status": how}
        witness = {
            **provider_payment(f"pay_{how}", how, PRICE),
            "dispute": how,
            "disputes": [told],
            "charged_back": PRICE if how == LOST else 0,
        }
        witnesses.ledger["payments"].append(witness)
        for template in templates(how):
            mail = {**message(id_of(how), template, "email"), "to": "bob@example.test"}
            witnesses.mails.append(mail)
    return db


def test_disputes_as_they_must_be_breach_nothing(checker: Checker, town: Connection) -> None:
    checker.run()
    assert checker.with_status("BREACH") == set()
    assert checker.exit_code == 0


def refund_meanwhile(db: Connection) -> None:
    refund = {
        "id": id_of("meanwhile"),
        "booking_id": id_of(OPEN),
        "provider_payment_id": id_of("pay_open"),
        "idempotency_key": "meanwhile",
        "reason": "requested",
        "status": "pending",
        "amount": PRICE,
        "currency": EUR,
        "reference": "ref_meanwhile",
        "number": 1,
        "accepted_at": LONG_AGO + timedelta(minutes=3),
    }
    insert(db, "refunds", refund)


def of(how: str, statement: str) -> Spoil:
    """A spoiler for the booking or the payment of that dispute."""
    return by(statement, id=id_of(how), paid=id_of(f"pay_{how}"))


IN_THE_DATABASE: list[tuple[str, str, Spoil]] = [
    ("D1", "a refund meanwhile", refund_meanwhile),
    (
        "D2",
        "not marked",
        of(OPEN, "UPDATE provider_payments SET disputed = false WHERE id = %(paid)s"),
    ),
    (
        "D2",
        "marked after it was won",
        of(WON, "UPDATE payments SET disputed = true WHERE booking_id = %(id)s"),
    ),
    (
        "D2",
        "still confirmed",
        of(OPEN, "UPDATE bookings SET state = 'confirmed' WHERE id = %(id)s"),
    ),
    ("D2", "still disputed", of(WON, "UPDATE bookings SET state = 'disputed' WHERE id = %(id)s")),
    ("D2", "never lost", of(OPEN, "UPDATE bookings SET state = 'charged_back' WHERE id = %(id)s")),
    (
        "D2",
        "kept from sale",
        of(LOST, "UPDATE booking_seats SET released_at = NULL WHERE booking_id = %(id)s"),
    ),
    (
        "S3",
        "a seat of a lost booking",
        of(LOST, "UPDATE seat_claims SET state = 'sold', booking_id = %(id)s WHERE label = 'A10'"),
    ),
    (
        "S5",
        "freed twice over",
        of(OPEN, "UPDATE booking_seats SET released_at = now() WHERE booking_id = %(id)s"),
    ),
    (
        "D3",
        "not withdrawn",
        rewrite("DELETE FROM ledger_entries WHERE kind = 'dispute_opened'"),
    ),
    ("D3", "not returned", rewrite("DELETE FROM ledger_entries WHERE kind = 'dispute_won'")),
    ("D3", "not lost", rewrite("DELETE FROM ledger_entries WHERE kind = 'dispute_lost'")),
    ("D3", "another sum", of(OPEN, "UPDATE disputes SET amount = 1 WHERE booking_id = %(id)s")),
    ("D4", "unknown here", of(WON, "DELETE FROM disputes WHERE booking_id = %(id)s")),
    ("M4", "lost there alone", of(LOST, "DELETE FROM disputes WHERE booking_id = %(id)s")),
    ("N1", "not told", by("DELETE FROM notification_outbox WHERE template = 'charged_back'")),
]


@pytest.mark.parametrize(
    ("id_", "spoil"),
    [pytest.param(id_, spoil, id=f"{id_} {name}") for id_, name, spoil in IN_THE_DATABASE],
)
def test_a_breach_of_disputes_is_found(
    id_: str, spoil: Spoil, checker: Checker, town: Connection
) -> None:
    spoil(town)
    checker.run()
    assert id_ in checker.with_status("BREACH")
    assert 1 <= len(checker.verdicts[id_]["examples"]) <= 5


def won_there(paid: dict[str, Any]) -> None:
    paid["dispute"] = paid["disputes"][0]["status"] = "won"


def more_there(paid: dict[str, Any]) -> None:
    paid["disputes"][0]["amount"] += 1


def none_there(paid: dict[str, Any]) -> None:
    paid["disputes"] = []


@pytest.mark.parametrize("change", [won_there, more_there, none_there])
def test_a_provider_that_says_otherwise_is_heard(
    change: Callable[[dict[str, Any]], None],
    checker: Checker,
    town: Connection,
    witnesses: Witnesses,
) -> None:
    [paid] = [one for one in witnesses.ledger["payments"] if one["id"] == "pay_open"]
    change(paid)
    checker.run()
    assert "D4" in checker.with_status("BREACH")
