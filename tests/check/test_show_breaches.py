"""Cancelled shows, clean and then breached."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.check.builders import (
    PRICE,
    SHOW,
    Brief,
    Command,
    Connection,
    add_booking,
    add_case,
    append,
    audited,
    id_of,
    insert,
)
from tests.check.conftest import Checker, Witnesses
from tests.check.test_seeded_breaches import Spoil, append_raw, by
from tests.check.town import add_payment, add_provider_payment, message, queued

Fact = tuple[str, dict[str, Any]]
FREE, MATINEE = id_of("free"), id_of("matinee")
CALLED_OFF: Fact = ("BookingCalledOff", {"what": "free", "amount": 0, "currency": "EUR"})
ENDED: Fact = ("BookingCancelled", {"why": "cancelled", "note": "", "payment_uncertain": False})


@pytest.fixture
def town(db: Connection, witnesses: Witnesses) -> Connection:
    """The clean town and a show of its own that is cancelled, with a free booking of it."""
    show = MATINEE
    db.execute(
        "INSERT INTO shows (id, movie_id, auditorium_id, auditorium_number, seat_map_id, starts_at,"
        " ends_at, free_at, currency, sales_open_at, sales_close_at, status)"
        " SELECT %s, movie_id, auditorium_id, auditorium_number, seat_map_id,"
        " starts_at, ends_at, free_at, currency, sales_open_at, sales_close_at, 'cancelled'"
        " FROM shows WHERE id = %s",
        (show, SHOW),
    )
    insert_free(db, show)
    now = datetime.now(UTC)
    report = '{"refunded": []}'
    db.execute(
        "INSERT INTO show_cancellations (show_id, reason, actor, plan, status, finished_at, report)"
        " VALUES (%s, 'x', 'operator:ada', '{}', 'finished', now(), %s::jsonb)",
        (show, report),
    )
    audited(db, "show.cancel", f"show:{show}")
    append(db, show, [[("ShowCancelled", {"reason": "x"})]], now - timedelta(minutes=20))
    for template in ("confirmation", "show_cancelled"):
        witnesses.mails.append({**message(FREE, template, "email"), "to": "bob@example.test"})
    return db


def insert_free(db: Connection, show: UUID) -> None:
    """A booking without any payment: confirmed, then cancelled with its show."""
    commands: list[Command] = [
        [("BookingConfirmed", {"provider_payment_id": None}), queued("confirmation")],
        [CALLED_OFF, queued("show_cancelled")],
        [ENDED, ("SeatReleased", {"labels": ["A11"]})],
    ]
    row = {"close_reason": "cancelled"}
    brief = Brief("free", "cancelled", ("A11",), commands, user="bob", show=show, row=row)
    add_booking(db, brief, claimed=False)
    insert(db, "seat_claims", {"show_id": show, "label": "A11", "state": "free", "fence": 2})
    told = {"booking_id": FREE, "user_id": id_of("bob"), "channel": "email", "state": "sent"}
    for template in ("confirmation", "show_cancelled"):
        sent_at = datetime.now(UTC) - timedelta(minutes=30)
        insert(
            db,
            "notification_outbox",
            {**told, "template": template, "attempts": 1, "sent_at": sent_at},
        )


def test_a_show_cancelled_as_it_must_be_breaches_nothing(
    checker: Checker, town: Connection
) -> None:
    checker.run()
    assert checker.with_status("BREACH") == set()
    assert checker.exit_code == 0


def hold_late(db: Connection) -> None:
    """A hold that began after its show was cancelled."""
    brief = Brief("latecomer", "held", ("A9",), minutes_ago=1, show=MATINEE)
    add_booking(db, brief)


def confirmed_and_kept(db: Connection) -> None:
    told = [("BookingConfirmed", {"provider_payment_id": None}), queued("confirmation")]
    add_booking(db, Brief("kept", "confirmed", ("A9",), [told], user="bob", show=MATINEE))


def captured_and_kept(db: Connection) -> None:
    """The free booking turns out to have been paid, and nothing went back."""
    add_payment(db, "free", "captured", PRICE)
    add_provider_payment(db, "pay_free", "free", "confirms", PRICE)


def with_a_case_of_before(spoil: Spoil, kind: str, booking: str) -> Spoil:
    """A person had looked at some trouble of the booking, and was done with it."""

    def spoiled(db: Connection) -> None:
        spoil(db)
        add_case(db, kind, booking, is_over=True)

    return spoiled


def forgotten(db: Connection) -> None:
    """The show's cancellation goes on for five hours, and a booking of it is as it was."""
    db.execute(
        "UPDATE show_cancellations SET status = 'running', finished_at = NULL, report = NULL,"
        " requested_at = now() - interval '5 hours'"
    )
    db.execute(
        "UPDATE events SET created_at = created_at - interval '5 hours'"
        " WHERE aggregate_id = ANY(%s)",
        ([FREE, MATINEE],),
    )
    confirmed_and_kept(db)


def cancelled_on_a_whim(db: Connection) -> None:
    """The same end of a booking whose show goes on."""
    confirmed: Command = [
        ("BookingConfirmed", {"provider_payment_id": None}),
        queued("confirmation"),
    ]
    ended: Command = [ENDED, ("SeatReleased", {"labels": ["A9"]})]
    row = {"close_reason": "cancelled"}
    add_booking(db, Brief("whim", "cancelled", ("A9",), [confirmed, ended], row=row))


SPOILS: list[tuple[str, str, Spoil]] = [
    ("C1", "held after the end", hold_late),
    (
        "C1",
        "on sale again",
        by(
            "UPDATE shows SET status = 'on_sale', starts_at = starts_at + interval '9 day',"
            " ends_at = ends_at + interval '9 day', free_at = free_at + interval '9 day'"
            " WHERE id = %(id)s",
            id=MATINEE,
        ),
    ),
    ("C1", "never said", by("DELETE FROM events WHERE aggregate_id = %(id)s", id=MATINEE)),
    ("C2", "confirmed without a refund", confirmed_and_kept),
    ("C2", "money kept", captured_and_kept),
    (
        "C2",
        "confirmed with a case of before",
        with_a_case_of_before(confirmed_and_kept, "dispute", "kept"),
    ),
    (
        "C2",
        "confirmed with a case about another refund",
        with_a_case_of_before(confirmed_and_kept, "refund_failed", "kept"),
    ),
    (
        "C2",
        "money kept with a case of before",
        with_a_case_of_before(captured_and_kept, "refund_failed", "free"),
    ),
    ("C4", "neither refunded nor told", forgotten),
    ("C3", "cancelled after its sale", cancelled_on_a_whim),
    (
        "C3",
        "never told",
        by(
            "DELETE FROM events WHERE aggregate_id = %(id)s AND event_type = 'BookingCalledOff'",
            id=FREE,
        ),
    ),
    (
        "N1",
        "no word of the end",
        by(
            "DELETE FROM notification_outbox WHERE booking_id = %(id)s"
            " AND template = 'show_cancelled'",
            id=FREE,
        ),
    ),
    ("E4", "called off after its end", append_raw("BookingCalledOff", "lapsed")),
]


@pytest.mark.parametrize(
    ("id_", "spoil"), [pytest.param(id_, spoil, id=f"{id_} {name}") for id_, name, spoil in SPOILS]
)
def test_a_breach_is_found(id_: str, spoil: Spoil, checker: Checker, town: Connection) -> None:
    spoil(town)
    checker.run()
    assert checker.exit_code == 1
    assert id_ in checker.with_status("BREACH")


@pytest.mark.parametrize(
    ("kind", "is_over"),
    [("show_cancel_left", False), ("show_cancel_left", True), ("dispute", False)],
)
@pytest.mark.parametrize(
    ("spoil", "booking"), [(confirmed_and_kept, "kept"), (captured_and_kept, "free")]
)
def test_a_case_explains_what_was_left(
    spoil: Spoil, booking: str, kind: str, is_over: bool, checker: Checker, town: Connection
) -> None:
    """Any that is open; of those that are over, the one that was about just this."""
    spoil(town)
    checker.run()
    assert "C2" in checker.with_status("BREACH")
    add_case(town, kind, booking, is_over=is_over)
    checker.run()
    assert "C2" in checker.with_status("ok")


def test_a_refund_that_came_back_is_over_when_a_person_paid_it(
    checker: Checker, town: Connection
) -> None:
    """Its seats are given up, so there is no more to do with the booking."""
    confirmed_and_kept(town)
    town.execute("UPDATE bookings SET state = 'refund_pending' WHERE id = %s", (id_of("kept"),))
    checker.run()
    assert "C2" in checker.with_status("BREACH")
    add_case(town, "refund_failed", "kept", is_over=True)
    checker.run()
    assert "C2" in checker.with_status("ok")


def sent_another_way(db: Connection) -> None:
    """The provider would not send it back, so a person did."""
    refund = id_of("refund-free")
    failed = {"status": "failed", "reason": "show_cancelled", "number": 1}
    sum_ = {"amount": PRICE, "currency": "EUR", "idempotency_key": "key-free"}
    whose = {"booking_id": FREE, "provider_payment_id": id_of("pay_free")}
    insert(db, "refunds", {"id": refund, **whose, **sum_, **failed})
    add_case(db, "refund_failed", "free", is_over=True, refund_id=refund)


def taken_by_the_bank(db: Connection) -> None:
    lost = {"status": "lost", "amount": PRICE, "currency": "EUR", "borne_by": "revenue"}
    whose = {"booking_id": FREE, "provider_payment_id": id_of("pay_free")}
    now = {"opened_at": datetime.now(UTC), "closed_at": datetime.now(UTC)}
    insert(db, "disputes", {"id": id_of("dispute"), "reference": "x", **whose, **lost, **now})
    add_case(db, "dispute", "free", is_over=True)


def sent_at_the_provider(db: Connection) -> None:
    db.execute("UPDATE provider_payments SET refunded_unasked = captured")
    add_case(db, "unknown_refund", "free", is_over=True)


@pytest.mark.parametrize("back", [sent_another_way, taken_by_the_bank, sent_at_the_provider])
def test_money_that_is_back_by_any_way_is_not_kept(
    back: Spoil, checker: Checker, town: Connection
) -> None:
    """Also when the case that somebody had about it is resolved."""
    captured_and_kept(town)
    back(town)
    checker.run()
    assert "C2" in checker.with_status("ok")


def refund_of(booking: str, status: str, reason: str, hours_ago: float) -> Spoil:
    """A refund by number, as the run and whoever asks for one make it."""

    def begun(db: Connection) -> None:
        name = f"{reason}-{booking}"
        refund = {"id": id_of(name), "idempotency_key": name, "reason": reason, "status": status}
        whose = {"booking_id": id_of(booking), "provider_payment_id": id_of(name), "number": 1}
        at = datetime.now(UTC) - timedelta(hours=hours_ago)
        sum_ = {"amount": PRICE, "currency": "EUR", "created_at": at}
        insert(db, "refunds", {**refund, **whose, **sum_})

    return begun


def told_long_ago(db: Connection) -> None:
    append_raw("BookingCalledOff", "kept")(db)
    db.execute("UPDATE events SET created_at = now() - interval '4 hours'")


EXPLANATIONS: dict[str, Spoil] = {
    "paused": by("UPDATE show_cancellations SET status = 'paused', paused = 'balance'"),
    "resumed a moment ago": lambda db: audited(db, "show.cancel.resume", f"show:{MATINEE}"),
    "another is refunded just now": refund_of("free", "pending", "show_cancelled", 1),
    "another was told just now": by(
        "UPDATE events SET created_at = now() WHERE event_type = 'BookingCalledOff'"
    ),
    "it is refunded": refund_of("kept", "pending", "show_cancelled", 4),
    "its refund failed": refund_of("kept", "failed", "show_cancelled", 4),
    "it was told": told_long_ago,
    "all its money is on its way": refund_of("kept", "pending", "requested", 4),
    "it was sold just now": by(
        "UPDATE bookings SET updated_at = now() WHERE id = %(id)s", id=id_of("kept")
    ),
}


@pytest.mark.parametrize("explain", EXPLANATIONS.values(), ids=EXPLANATIONS.keys())
def test_a_cancellation_may_have_a_reason_to_wait(
    explain: Spoil, checker: Checker, town: Connection
) -> None:
    forgotten(town)
    checker.run()
    assert "C4" in checker.with_status("BREACH")
    explain(town)
    checker.run()
    assert "C4" in checker.with_status("ok")


def test_refunds_that_are_over_explain_no_wait(checker: Checker, town: Connection) -> None:
    """Its own that was asked for, and another's of hours ago."""
    forgotten(town)
    refund_of("kept", "succeeded", "requested", 4)(town)
    refund_of("free", "succeeded", "show_cancelled", 4)(town)
    checker.run()
    assert "C4" in checker.with_status("BREACH")
