"""An open offer of other seats for late money: clean, and then breached."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from psycopg.types.json import Jsonb

from tests.check.builders import (
    PRICE,
    SHOW,
    Brief,
    Connection,
    add_booking,
    add_notices,
    add_posting,
    id_of,
    insert,
)
from tests.check.conftest import Checker, Witnesses
from tests.check.test_seeded_breaches import Spoil, append_raw, by
from tests.check.town import add_payment, closed, message, provider_payment, queued, started

OFFERED, PAID = id_of("offered"), id_of("pay_offered")


@pytest.fixture
def town(db: Connection, witnesses: Witnesses) -> Connection:
    """The clean town, and a booking of A8 that was paid too late and is offered A9."""
    checkout, ends = started("offered", 200)
    until = datetime.now(UTC) + timedelta(minutes=10)
    seat = {
        "label": "A9",
        "price_class": "standard",
        "ticket_type": "standard",
        "amount": PRICE,
        "fence": 1,
    }
    told = {"provider_payment_id": str(PAID), "seats": [seat], "expires_at": until.isoformat()}
    commands = [
        checkout,
        [("BookingExpiring", {"why": "lapsed", "note": ""})],
        [*closed("BookingExpired", "lapsed", ["A8"]), queued("lapse")],
        [("PaymentVerified", {"provider_payment_id": str(PAID)})],
        [("SeatsOffered", told), queued("offer")],
    ]
    row = {
        "lapses": False,
        "hold_expires_at": ends,
        "closing_since": ends,
        "close_reason": "lapsed",
    }
    add_booking(db, Brief("offered", "expired", ("A8",), commands, minutes_ago=200, row=row))
    add_payment(db, "offered", "captured", PRICE)
    paid = {
        "id": PAID,
        "provider": "sandbox",
        "reference": "pay_offered",
        "booking_id": OFFERED,
        "payment_id": id_of("attempt-offered"),
        "status": "captured",
        "amount": PRICE,
        "currency": "EUR",
        "captured": PRICE,
    }
    insert(db, "provider_payments", paid)
    add_posting(db, "captured", paid, "provider", "buyer")
    claim = {"show_id": SHOW, "label": "A9", "state": "held", "booking_id": OFFERED, "fence": 1}
    insert(db, "seat_claims", claim)
    offer = {"provider_payment_id": PAID, "booking_id": OFFERED, "state": "open"}
    insert(db, "seat_offers", {**offer, "seats": Jsonb([seat]), "expires_at": until})
    witnesses.ledger["payments"].append(provider_payment("pay_offered", "offered", PRICE))
    for template in ("lapse", "offer"):
        add_notices(db, "offered", template)
        witnesses.mails += [message(OFFERED, template, one) for one in ("email", "sms")]
    return db


def test_an_open_offer_breaches_nothing(checker: Checker, town: Connection) -> None:
    checker.run()
    assert checker.with_status("BREACH") == set()
    assert checker.exit_code == 0


def end_as(state: str, decision: str) -> Spoil:
    """Ended in its row, while the seat stays claimed."""

    def spoil(db: Connection) -> None:
        db.execute("UPDATE seat_offers SET state = %s, ended_at = now()", (state,))
        db.execute("UPDATE provider_payments SET decision = %s WHERE id = %s", (decision, PAID))

    return spoil


BREACHES: list[tuple[str, str, Spoil]] = [
    ("S9", "claim lost", by("DELETE FROM seat_claims WHERE label = 'A9'")),
    ("S9", "another's claim", by("UPDATE seat_claims SET fence = 2 WHERE label = 'A9'")),
    ("S9", "lapsed and still claimed", end_as("lapsed", "late")),
    ("S9", "declined and still claimed", end_as("declined", "late")),
    ("S9", "accepted and never sold", end_as("accepted", "confirms")),
    (
        "S9",
        "open though decided",
        by("UPDATE provider_payments SET decision = 'late' WHERE id = %(id)s", id=PAID),
    ),
    (
        "S9",
        "dearer than what was paid",
        by("UPDATE seat_offers SET seats = jsonb_set(seats, '{0,amount}', '1300')"),
    ),
    (
        "S9",
        "a seat too many",
        by("UPDATE seat_offers SET seats = seats || seats"),
    ),
    ("S3", "held for no offer", by("DELETE FROM seat_offers")),
    ("S5", "claimed for no offer", by("DELETE FROM seat_offers")),
    ("M1", "kept for no offer", by("DELETE FROM seat_offers")),
    ("M10", "undecided without an offer", by("DELETE FROM seat_offers")),
    (
        "M10",
        "more undecided than is offered for",
        by("UPDATE provider_payments SET captured = captured - 1 WHERE id = %(id)s", id=PAID),
    ),
    ("L8", "open for ever", by("UPDATE seat_offers SET expires_at = now() - interval '1 hour'")),
    ("E4", "confirmed without a word", append_raw("BookingConfirmed", "offered")),
    ("E4", "accepted twice over", append_raw("LatePaymentAccepted", "confirmed")),
    ("E5", "reinstated though cancelled", append_raw("LatePaymentAccepted", "cancelled")),
    (
        "N1",
        "no word of the offer",
        by("DELETE FROM notification_outbox WHERE template = 'offer'"),
    ),
]


@pytest.mark.parametrize(
    ("id_", "spoil"),
    [pytest.param(id_, spoil, id=f"{id_} {name}") for id_, name, spoil in BREACHES],
)
def test_breach_is_found(id_: str, spoil: Spoil, checker: Checker, town: Connection) -> None:
    spoil(town)
    checker.run()
    assert checker.exit_code == 1
    assert id_ in checker.with_status("BREACH")
