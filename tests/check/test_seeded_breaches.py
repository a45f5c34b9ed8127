"""Each invariant breached on purpose, by SQL or by a witness: the check must find it and say so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.check.builders import Brief, Connection, add_booking, id_of
from tests.check.conftest import Checker
from tests.check.town import queued

Spoil = Callable[[Connection], None]


def by(statement: str, **values: object) -> Spoil:
    """A spoiler that runs one statement."""

    def spoil(db: Connection) -> None:
        db.execute(statement, values)

    return spoil


CONFIRMED, LAPSED, CANCELLED, HELD, EXPIRING = (
    id_of(name) for name in ("confirmed", "lapsed", "cancelled", "held", "expiring")
)


def confirm_again(db: Connection) -> None:
    """Another booking is confirmed for a seat that is sold."""
    confirmed = [("BookingConfirmed", {"provider_payment_id": None}), queued("confirmation")]
    add_booking(db, Brief("second", "confirmed", ("A1",), [confirmed], fence=2), claimed=False)


def hold_again(db: Connection) -> None:
    add_booking(db, Brief("second", "held", ("A5",), minutes_ago=1, fence=2), claimed=False)


def claim_twice_without_index(db: Connection) -> None:
    db.execute("DROP INDEX seat_claims_show_label_key")
    db.execute("INSERT INTO seat_claims SELECT * FROM seat_claims WHERE label = 'A1'")


def hold_four(db: Connection) -> None:
    for number in range(4):
        brief = Brief(f"many-{number}", "held", (f"A{8 + number}",), minutes_ago=2 - number / 10)
        add_booking(db, brief)


def hold_and_lose_four(db: Connection) -> None:
    """Four live holds at one instant of the past; none is left now."""
    lapsed = [("BookingExpired", {"why": "released", "note": "", "payment_uncertain": False})]
    for number in range(4):
        brief = Brief(
            f"many-{number}",
            "expired",
            (f"A{8 + number}",),
            [lapsed],
            minutes_ago=40,
            row={"close_reason": "released"},
        )
        add_booking(db, brief)
        db.execute(
            "UPDATE events SET created_at = created_at + make_interval(secs => %s)"
            " WHERE aggregate_id = %s AND event_type = 'BookingExpired'",
            (300, brief.id),
        )


def answered(outcome: str | None, booking: str) -> Spoil:
    """What is written down of the reserve that led to this booking, or to none."""
    return by(
        "INSERT INTO booking_requests (id, user_id, show_id, body_hash, seats, ticket_types,"
        " outcome) SELECT %(id)s, user_id, show_id, '', '{}', '{}', %(outcome)s"
        " FROM bookings LIMIT 1",
        id=id_of(booking),
        outcome=outcome,
    )


def append_raw(event_type: str, booking: str, payload: str = "{}") -> Spoil:
    """One more event that was never chained."""
    return by(
        "INSERT INTO events (aggregate_id, sequence, event_type, payload, actor, version,"
        " previous_hash, hash) SELECT aggregate_id, max(sequence) + 1, %(type)s,"
        " %(payload)s::jsonb, 'x', max(version) + 1, '', '' FROM events WHERE aggregate_id = %(id)s"
        " GROUP BY aggregate_id",
        type=event_type,
        id=id_of(booking),
        payload=payload,
    )


IN_THE_DATABASE: list[tuple[str, str, Spoil]] = [
    ("S1", "confirmed twice", confirm_again),
    ("S2", "index dropped", by("DROP INDEX seat_claims_show_label_key")),
    ("S2", "two claims", claim_twice_without_index),
    ("S2", "two active bookings", hold_again),
    (
        "S2",
        "index of other columns",
        by(
            "DROP INDEX seat_claims_show_label_key; CREATE UNIQUE INDEX"
            " seat_claims_show_label_key ON seat_claims (show_id, label, booking_id)"
        ),
    ),
    (
        "S2",
        "index of a part",
        by(
            "DROP INDEX seat_claims_show_label_key; CREATE UNIQUE INDEX"
            " seat_claims_show_label_key ON seat_claims (show_id, label) WHERE state <> 'free'"
        ),
    ),
    (
        "S2",
        "index invalid",
        by(
            "UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = 'seat_claims_show_label_key'::regclass"
        ),
    ),
    ("S3", "another's seat", by("UPDATE seat_claims SET state = 'sold' WHERE label = 'A5'")),
    ("S3", "sold to nobody", by("UPDATE seat_claims SET booking_id = NULL WHERE label = 'A1'")),
    (
        "S3",
        "held by the dead",
        by(
            "UPDATE seat_claims SET state = 'held', booking_id = %(id)s WHERE label = 'A3'",
            id=LAPSED,
        ),
    ),
    ("S4", "capacity", by("UPDATE seat_maps SET capacity = 13")),
    (
        "S4",
        "no such seat",
        by("INSERT INTO seat_claims (show_id, label, state) SELECT id, 'Z9', 'free' FROM shows"),
    ),
    (
        "S5",
        "part of a booking",
        by("UPDATE seat_claims SET state = 'free', booking_id = NULL WHERE label = 'A2'"),
    ),
    ("S6", "older fence", by("UPDATE seat_claims SET fence = 0 WHERE label = 'A1'")),
    ("S6", "fence not raised", by("UPDATE seat_claims SET fence = 1 WHERE label = 'A3'")),
    (
        "S6",
        "fence twice",
        lambda db: add_booking(db, Brief("again", "held", ("A3",), minutes_ago=1), claimed=False),
    ),
    ("S7", "total", by("UPDATE bookings SET total_amount = 1 WHERE id = %(id)s", id=LAPSED)),
    ("S7", "price", by("UPDATE booking_seats SET amount = 1 WHERE booking_id = %(id)s", id=LAPSED)),
    ("S7", "currency", by("UPDATE bookings SET currency = 'USD' WHERE id = %(id)s", id=LAPSED)),
    ("S7", "attempt", by("UPDATE payments SET amount = 1 WHERE booking_id = %(id)s", id=EXPIRING)),
    ("S8", "four live holds", hold_four),
    ("S8", "four live holds once", hold_and_lose_four),
    (
        "L1",
        "overdue",
        by(
            "UPDATE bookings SET hold_expires_at = now() - interval '1 minute' WHERE id = %(id)s",
            id=HELD,
        ),
    ),
    (
        "L1",
        "closing for ever",
        by(
            "UPDATE bookings SET closing_since = now() - interval '3 minutes' WHERE id = %(id)s",
            id=EXPIRING,
        ),
    ),
    (
        "L1",
        "on its way for ever",
        by(
            "WITH paying AS ("
            " UPDATE payments SET status = 'processing' WHERE booking_id = %(id)s"
            ") UPDATE bookings SET closing_since = now() - interval '11 minutes' WHERE id = %(id)s",
            id=EXPIRING,
        ),
    ),
    (
        "L1",
        "past its maximum",
        by(
            "UPDATE bookings SET hold_expires_at = hold_max_expires_at + interval '1 second'"
            " WHERE id = %(id)s",
            id=HELD,
        ),
    ),
    (
        "L1",
        "request unsettled",
        by(
            "INSERT INTO booking_requests (id, user_id, show_id, body_hash, seats, ticket_types,"
            " created_at) SELECT gen_random_uuid(), user_id, show_id, '', '{}', '{}',"
            " now() - interval '2 minutes' FROM bookings LIMIT 1"
        ),
    ),
    (
        "L5",
        "slow inbox",
        by(
            "UPDATE webhook_inbox SET status = 'pending', processed_at = NULL,"
            " received_at = now() - interval '2 minutes'"
        ),
    ),
    (
        "L5",
        "slow outbox",
        by(
            "UPDATE notification_outbox SET state = 'sending',"
            " created_at = now() - interval '6 minutes'"
        ),
    ),
    ("L5", "no reason", by("UPDATE webhook_inbox SET reason = NULL")),
    ("L6", "unseen", by("UPDATE cases SET opened_at = now() - interval '25 hours'")),
    (
        "L7",
        "refund unheard",
        by(
            "UPDATE refunds SET status = 'pending', reference = NULL,"
            " created_at = now() - interval '26 hours' WHERE booking_id = %(id)s",
            id=CANCELLED,
        ),
    ),
    ("M3", "too many tries", by("UPDATE refunds SET tries = 6, failed = '{1,2,3,4,5,6}'")),
    ("M3", "tried again unasked", by("UPDATE refunds SET tries = 1")),
    (
        "M2",
        "confirmed unpaid",
        by("UPDATE bookings SET state = 'confirmed' WHERE id = %(id)s", id=HELD),
    ),
    ("M3", "refund never made", by("UPDATE refunds SET idempotency_key = idempotency_key || 'x'")),
    (
        "M3",
        "more than taken",
        by("UPDATE refunds SET amount = 99999 WHERE booking_id = %(id)s", id=CANCELLED),
    ),
    ("M4", "books differ", by("UPDATE provider_payments SET captured = captured - 1")),
    (
        "M5",
        "two bookings",
        by(
            "UPDATE bookings SET provider_payment_id = (SELECT provider_payment_id FROM bookings"
            " WHERE id = %(one)s) WHERE id = %(two)s",
            one=CONFIRMED,
            two=LAPSED,
        ),
    ),
    (
        "M5",
        "index dropped",
        by(
            "ALTER TABLE provider_payments DROP CONSTRAINT provider_payments_provider_reference_key"
        ),
    ),
    ("M6", "asked too late", append_raw("PaymentStarted", "lapsed")),
    ("E1", "state", by("UPDATE bookings SET state = 'expired' WHERE id = %(id)s", id=HELD)),
    ("E1", "extensions", by("UPDATE bookings SET extensions_left = 7 WHERE id = %(id)s", id=HELD)),
    (
        "E1",
        "end of the hold",
        by(
            "UPDATE bookings SET hold_expires_at = hold_expires_at + interval '1 second'"
            " WHERE id = %(id)s",
            id=HELD,
        ),
    ),
    (
        "E1",
        "owner",
        by("UPDATE bookings SET user_id = %(to)s WHERE id = %(id)s", to=id_of("bob"), id=LAPSED),
    ),
    ("E1", "no events", by("DELETE FROM events WHERE aggregate_id = %(id)s", id=HELD)),
    (
        "E1",
        "no row",
        by(
            "WITH seats AS (DELETE FROM booking_seats WHERE booking_id = %(id)s)"
            " DELETE FROM bookings WHERE id = %(id)s",
            id=HELD,
        ),
    ),
    ("E2", "gap", by("UPDATE events SET sequence = sequence + 100 WHERE sequence > 3")),
    ("E2", "version", by("UPDATE bookings SET version = version + 1 WHERE id = %(id)s", id=HELD)),
    ("E4", "illegal", append_raw("HoldExtended", "confirmed")),
    ("E4", "unknown event", append_raw("BookingAbducted", "held")),
    (
        "E5",
        "out of an end",
        append_raw("BookingConfirmed", "lapsed", '{"provider_payment_id": null}'),
    ),
    (
        "E6",
        "back in time",
        by("UPDATE events SET created_at = created_at - interval '1 hour' WHERE sequence = 3"),
    ),
    ("E7", "rewritten", by("UPDATE events SET payload = payload || '{\"x\": 1}'")),
    (
        "E7",
        "unlinked",
        by("UPDATE events SET previous_hash = '\\x00' WHERE sequence = 2"),
    ),
    ("E7", "another did it", by("UPDATE events SET actor = 'bob' WHERE sequence = 2")),
    ("E7", "another request", by("UPDATE events SET request_id = 'req' WHERE sequence = 2")),
    ("E12", "unknown version", by("UPDATE events SET schema_version = 2 WHERE sequence = 2")),
    ("E7", "cut off", by("DELETE FROM events WHERE event_type = 'RefundSettled'")),
    (
        "E8",
        "index dropped",
        by("ALTER TABLE events DROP CONSTRAINT events_aggregate_id_sequence_key"),
    ),
    ("E8", "held and refused", answered("rejected", "held")),
    ("E8", "sold and refused", answered("rejected", "confirmed")),
    ("E8", "held and undecided", answered(None, "held")),
    ("E8", "answered as held, never held", answered("held", "nobody's")),
    (
        "E11",
        "index dropped",
        by("ALTER TABLE webhook_inbox DROP CONSTRAINT webhook_inbox_provider_event_id_key"),
    ),
    ("E11", "answered, not stored", by("DELETE FROM webhook_inbox WHERE event_id = 'evt_one'")),
    ("N1", "none", by("DELETE FROM notification_outbox WHERE booking_id = %(id)s", id=CONFIRMED)),
    (
        "N1",
        "one too many",
        by(
            "INSERT INTO notification_outbox (booking_id, user_id, channel, template)"
            " VALUES (%(id)s, %(user)s, 'email', 'confirmation')",
            id=HELD,
            user=id_of("ada"),
        ),
    ),
]


@pytest.mark.parametrize(
    ("id_", "spoil"),
    [pytest.param(id_, spoil, id=f"{id_} {name}") for id_, name, spoil in IN_THE_DATABASE],
)
def test_breach_in_the_database_is_found(
    id_: str, spoil: Spoil, checker: Checker, db: Connection
) -> None:
    spoil(db)
    checker.run()
    assert checker.exit_code == 1
    assert id_ in checker.with_status("BREACH")
    assert 1 <= len(checker.verdicts[id_]["examples"]) <= 5


@pytest.mark.parametrize(
    ("outcome", "booking"),
    [("held", "held"), ("held", "lapsed"), ("rejected", "nobody's"), (None, "nobody's")],
)
def test_a_reserve_answered_as_it_ended_is_right(
    outcome: str | None, booking: str, checker: Checker, db: Connection
) -> None:
    answered(outcome, booking)(db)
    checker.run()
    assert checker.exit_code == 0


def test_more_seats_than_the_caps_allow_are_found(checker: Checker) -> None:
    checker.run(SEATHOLD_MAX_SEATS_PER_BOOKING="1", SEATHOLD_MAX_SEATS_PER_USER_SHOW="3")
    said = " ".join(checker.verdicts["S8"]["examples"])
    assert checker.with_status("BREACH") == {"S8"}
    assert "seats in one booking" in said
    assert "seats of the show" in said


def test_unreadable_event_is_a_breach_and_not_a_crash(checker: Checker, db: Connection) -> None:
    db.execute("UPDATE events SET payload = '{\"seats\": 1}' WHERE event_type = 'SeatLocked'")
    checker.run()
    assert checker.exit_code == 1
    assert {"S1", "E1", "E7"} <= checker.with_status("BREACH")
