"""Refunds on request, clean and then breached: by SQL, or by what the provider says."""

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
    add_case,
    add_posting,
    id_of,
    insert,
)
from tests.check.conftest import Checker, Witnesses
from tests.check.test_seeded_breaches import Spoil, append_raw, by
from tests.check.town import (
    EUR,
    add_payment,
    add_provider_payment,
    message,
    provider_payment,
    provider_refund,
    queued,
    started,
)

PARTLY, WHOLLY = id_of("partly"), id_of("wholly")


def refunded_on_request(db: Connection, name: str, labels: tuple[str, ...], back: str) -> None:
    """A booking that was paid, of which one seat's price went back for the seat ``back``."""
    checkout, ends = started(name, 60)
    paid, whole = id_of(f"pay_{name}"), labels == (back,)
    reserved = {
        "number": 1,
        "amount": PRICE,
        "currency": EUR,
        "percent": 100,
        "labels": [back],
        "refunds": [],
    }
    told = {"number": 1, "refund_id": str(id_of(f"back-{name}")), "amount": PRICE}
    asked: list[tuple[str, dict[str, Any]]] = [("RefundReserved", reserved)]
    settled = [("RefundSettled", told), queued("refund")]
    commands: list[Command] = [
        checkout,
        [("PaymentVerified", {})],
        [("BookingConfirmed", {"provider_payment_id": str(paid)}), queued("confirmation")],
        [*asked, ("BookingRefunding", {})] if whole else asked,
        [("RefundAccepted", told), ("SeatReleased", {"labels": [back]}), queued("refund_accepted")],
        [*settled, ("BookingRefunded", {})] if whole else settled,
    ]
    row = {"lapses": False, "hold_expires_at": ends, "seat_count": len(labels) - 1}
    state = "refunded" if whole else "confirmed"
    add_booking(db, Brief(name, state, labels, commands, user="bob", row=row), claimed=False)
    add_payment(db, name, "refunded" if whole else "captured", PRICE * len(labels))
    add_provider_payment(db, f"pay_{name}", name, "confirms", PRICE * len(labels))
    db.execute("UPDATE bookings SET provider_payment_id = %s WHERE id = %s", (paid, id_of(name)))
    db.execute(
        "UPDATE booking_seats SET released_at = now() WHERE (booking_id, label) = (%s, %s)",
        (id_of(name), back),
    )
    for label in labels:
        kept = label != back
        claim = {"label": label, "state": "sold" if kept else "free", "fence": 1 if kept else 2}
        insert(
            db,
            "seat_claims",
            {"show_id": id_of("show"), "booking_id": id_of(name) if kept else None, **claim},
        )
    pay_back(db, name, back)


def pay_back(db: Connection, name: str, back: str) -> None:
    """The refund's row, its postings and what the buyer was told."""
    paid, long_ago = id_of(f"pay_{name}"), datetime.now(UTC) - timedelta(minutes=30)
    refund = {
        "id": id_of(f"back-{name}"),
        "booking_id": id_of(name),
        "provider_payment_id": paid,
        "idempotency_key": f"key-pay_{name}",
        "reason": "requested",
        "status": "succeeded",
        "amount": PRICE,
        "currency": EUR,
        "reference": f"ref_pay_{name}",
        "number": 1,
        "seats": [back],
        "accepted_at": long_ago,
        "settled_at": long_ago,
    }
    insert(db, "refunds", refund)
    moved = {
        "id": paid,
        "booking_id": id_of(name),
        "provider": "sandbox",
        "currency": EUR,
        "captured": PRICE,
    }
    for kind, debit, credit in (
        ("refund_requested", "revenue", "refunds_due"),
        ("refund_settled", "refunds_due", "provider"),
    ):
        add_posting(db, kind, moved, debit, credit, refund_id=id_of(f"back-{name}"))
    for template in ("confirmation", "refund_accepted", "refund"):
        notice = {"booking_id": id_of(name), "user_id": id_of("bob"), "template": template}
        sent = {"state": "sent", "attempts": 1, "sent_at": long_ago, "channel": "email"}
        insert(db, "notification_outbox", {**notice, **sent})


@pytest.fixture
def town(db: Connection, witnesses: Witnesses) -> Connection:
    """The clean town with two more bookings: one refunded in part, one whole."""
    for name, labels, back in (("partly", ("A8", "A9"), "A8"), ("wholly", ("A10",), "A10")):
        refunded_on_request(db, name, labels, back)
        paid = provider_payment(f"pay_{name}", name, PRICE * len(labels), refunded=PRICE)
        witnesses.ledger["payments"].append(paid)
        witnesses.ledger["refunds"].append(provider_refund(f"pay_{name}", PRICE))
        for template in ("confirmation", "refund_accepted", "refund"):
            mail = {**message(id_of(name), template, "email"), "to": "bob@example.test"}
            witnesses.mails.append(mail)
    return db


def test_refunds_as_they_must_be_breach_nothing(checker: Checker, town: Connection) -> None:
    checker.run()
    assert checker.with_status("BREACH") == set()
    assert checker.exit_code == 0


def test_a_seat_that_was_given_up_may_be_sold_again(checker: Checker, town: Connection) -> None:
    town.execute("DELETE FROM seat_claims WHERE label = 'A8'")
    add_booking(town, Brief("next", "held", ("A8",), minutes_ago=1, fence=3))
    checker.run()
    assert checker.with_status("BREACH") == set()


IN_THE_DATABASE: list[tuple[str, str, Spoil]] = [
    (
        "S3",
        "sold though given up",
        by(
            "UPDATE seat_claims SET state = 'sold', booking_id = %(id)s WHERE label = 'A8'",
            id=PARTLY,
        ),
    ),
    (
        "S3",
        "sold though refunded",
        by(
            "UPDATE seat_claims SET state = 'sold', booking_id = %(id)s WHERE label = 'A10'",
            id=WHOLLY,
        ),
    ),
    (
        "S5",
        "seat not given up",
        by("UPDATE booking_seats SET released_at = NULL WHERE booking_id = %(id)s", id=WHOLLY),
    ),
    (
        "S5",
        "given up for no refund",
        by("UPDATE refunds SET seats = '{}' WHERE booking_id = %(id)s", id=PARTLY),
    ),
    (
        "S5",
        "given up without an event",
        by(
            "UPDATE events SET payload = '{\"labels\": []}' WHERE aggregate_id = %(id)s"
            " AND event_type = 'SeatReleased'",
            id=PARTLY,
        ),
    ),
    (
        "S6",
        "fence not raised",
        by("UPDATE seat_claims SET fence = 1 WHERE label = 'A8'"),
    ),
    (
        "M3",
        "more than was promised",
        by("UPDATE refunds SET amount = amount + 1 WHERE booking_id = %(id)s", id=PARTLY),
    ),
    (
        "M3",
        "promised and not kept",
        by("DELETE FROM refunds WHERE booking_id = %(id)s", id=WHOLLY),
    ),
    (
        "M2",
        "gone back unasked",
        by("UPDATE refunds SET number = NULL WHERE booking_id = %(id)s", id=PARTLY),
    ),
    (
        "E1",
        "seat count",
        by("UPDATE bookings SET seat_count = 2 WHERE id = %(id)s", id=PARTLY),
    ),
    ("E4", "accepted before it was sold", append_raw("RefundAccepted", "held")),
    ("E5", "out of refunded", append_raw("BookingRestored", "wholly")),
    (
        "N1",
        "no word of a refund",
        by(
            "DELETE FROM notification_outbox WHERE booking_id = %(id)s AND template = 'refund'",
            id=WHOLLY,
        ),
    ),
]


@pytest.mark.parametrize(
    ("id_", "spoil"),
    [pytest.param(id_, spoil, id=f"{id_} {name}") for id_, name, spoil in IN_THE_DATABASE],
)
def test_breach_in_the_database_is_found(
    id_: str, spoil: Spoil, checker: Checker, town: Connection
) -> None:
    spoil(town)
    checker.run()
    assert checker.exit_code == 1
    assert id_ in checker.with_status("BREACH")


@pytest.mark.parametrize(
    ("id_", "change"),
    [
        pytest.param("M1", lambda paid: paid.update(refunded=0), id="M1 never arrived"),
        pytest.param("M1", lambda paid: paid.update(refunded=PRICE + 1), id="M1 too much"),
        pytest.param("M2", lambda paid: paid.update(refunded=0), id="M2 never arrived"),
        pytest.param("M4", lambda paid: paid.update(refunded=0), id="M4 books differ"),
    ],
)
def test_a_provider_that_says_otherwise_is_found(
    id_: str,
    change: Callable[[dict[str, Any]], None],
    checker: Checker,
    town: Connection,
    witnesses: Witnesses,
) -> None:
    [partly] = [one for one in witnesses.ledger["payments"] if one["id"] == "pay_partly"]
    change(partly)
    checker.run()
    assert checker.exit_code == 1
    assert id_ in checker.with_status("BREACH")


def test_a_refund_under_way_is_no_breach(
    checker: Checker, town: Connection, witnesses: Witnesses
) -> None:
    """Accepted and not settled: the money is promised by us and pending at the provider."""
    town.execute(
        "UPDATE refunds SET status = 'pending', settled_at = NULL WHERE booking_id = %s", (PARTLY,)
    )
    [paid] = [one for one in witnesses.ledger["payments"] if one["id"] == "pay_partly"]
    paid["refunded"] = 0
    for refund in witnesses.ledger["refunds"]:
        if refund["payment_id"] == "pay_partly":
            refund["status"] = "pending"
    checker.run()
    assert not {"M1", "M2", "M3", "M4"} & checker.with_status("BREACH")


def test_a_refund_that_failed_after_the_seats_went_needs_a_case(
    checker: Checker, town: Connection, witnesses: Witnesses
) -> None:
    town.execute("UPDATE refunds SET status = 'failed' WHERE booking_id = %s", (WHOLLY,))
    town.execute("UPDATE bookings SET state = 'refund_pending' WHERE id = %s", (WHOLLY,))
    [paid] = [one for one in witnesses.ledger["payments"] if one["id"] == "pay_wholly"]
    paid["refunded"] = 0
    checker.run()
    assert "M1" in checker.with_status("BREACH")
    add_case(town, "refund_failed", "wholly")
    checker.run()
    assert "M1" in checker.with_status("ok")
