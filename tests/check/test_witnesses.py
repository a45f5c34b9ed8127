"""What only the provider's ledger or the mail sink tells, wrong or explained."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.check.builders import PRICE, Connection, add_case, audited, id_of, insert
from tests.check.conftest import Checker, Witnesses
from tests.check.town import message, provider_payment, provider_refund

HELD = id_of("held")


@pytest.mark.parametrize(
    ("id_", "change"),
    [
        pytest.param("M1", provider_payment("pay_x", "lapsed", PRICE), id="M1 kept for nothing"),
        pytest.param("M1", provider_payment("pay_x", "nobody", PRICE), id="M1 unknown"),
        pytest.param("M2", provider_payment("pay_x", "confirmed", 2 * PRICE), id="M2 two"),
        pytest.param(
            "M3",
            provider_payment("pay_x", "lapsed", PRICE, refunded=PRICE + 1),
            id="M3 more than taken",
        ),
        pytest.param("M4", provider_payment("pay_x", "lapsed", PRICE), id="M4 not in our books"),
        pytest.param(
            "M8",
            {**provider_payment("pay_x", "lapsed", 0, minutes_ago=61), "status": "authorised"},
            id="M8 authorised",
        ),
    ],
)
def test_payment_that_only_the_provider_knows_is_found(
    id_: str, change: dict[str, Any], checker: Checker, witnesses: Witnesses
) -> None:
    witnesses.ledger["payments"].append(change)
    checker.run()
    assert checker.exit_code == 1
    assert id_ in checker.with_status("BREACH")


def test_payment_of_the_last_minute_may_be_under_way(
    checker: Checker, witnesses: Witnesses
) -> None:
    fresh = provider_payment("pay_x", "lapsed", PRICE, minutes_ago=0.5)
    witnesses.ledger["payments"].append(fresh)
    checker.run()
    assert checker.exit_code == 0


def test_confirming_payment_of_another_amount_is_found(
    checker: Checker, witnesses: Witnesses
) -> None:
    witnesses.ledger["payments"][0] = provider_payment("pay_one", "confirmed", PRICE)
    checker.run()
    assert {"M1", "M2", "M4"} <= checker.with_status("BREACH")


def test_refund_key_with_two_effects_is_found(checker: Checker, witnesses: Witnesses) -> None:
    again = {**provider_refund("pay_extra", 2 * PRICE), "id": "ref_again"}
    witnesses.ledger["refunds"].append(again)
    checker.run()
    assert checker.with_status("BREACH") == {"M3"}


def test_two_tries_of_a_refund_that_both_paid_are_found(
    checker: Checker, witnesses: Witnesses
) -> None:
    """A new key for what had been paid under the first: the buyer has it twice."""
    again = {**provider_refund("pay_extra", 2 * PRICE), "id": "ref_again"}
    again["idempotency_key"] += "#2"
    witnesses.ledger["refunds"].append(again)
    checker.run()
    assert checker.with_status("BREACH") == {"M3"}


def test_a_try_that_failed_before_the_one_that_paid_is_no_breach(
    checker: Checker, witnesses: Witnesses, db: Connection
) -> None:
    failed = {**provider_refund("pay_extra", 2 * PRICE), "id": "ref_first", "status": "failed"}
    witnesses.ledger["refunds"].append(failed)
    for refund in witnesses.ledger["refunds"]:
        if refund["id"] == "ref_pay_extra":
            refund["idempotency_key"] += "#2"
    db.execute(
        "UPDATE refunds SET idempotency_key = idempotency_key || '#2', tries = 1,"
        " failed = '{ref_first}' WHERE idempotency_key = 'key-pay_extra'"
    )
    checker.run()
    assert checker.with_status("BREACH") == set()


def test_open_case_explains_money_of_nobodys(
    checker: Checker, witnesses: Witnesses, db: Connection
) -> None:
    """By its page, until the case is resolved; our books differ all the time."""
    witnesses.ledger["payments"].append(provider_payment("pay_x", "nobody", PRICE))
    checker.run()
    assert checker.with_status("BREACH") == {"M1", "M4"}
    db.execute(
        "INSERT INTO cases (id, kind, dedupe, summary)"
        " VALUES (gen_random_uuid(), 'unknown_payment',"
        " 'unknown_payment:sandbox:ses_nobody:captured', 'x')"
    )
    checker.run()
    assert checker.with_status("BREACH") == {"M4"}
    resolved = db.execute(
        "UPDATE cases SET status = 'resolved', resolution = 'x', resolved_at = now() RETURNING id"
    ).fetchall()
    for (case,) in resolved:
        audited(db, "case.resolve", f"case:{case}")
    checker.run()
    assert checker.with_status("BREACH") == {"M1", "M4"}


def test_open_case_explains_money_that_was_kept(
    checker: Checker, witnesses: Witnesses, db: Connection
) -> None:
    """One that is resolved does not, whatever the booking names: the money is there still."""
    witnesses.ledger["payments"][2]["refunded"] = 0
    checker.run()
    assert "M1" in checker.with_status("BREACH")
    add_case(db, "refund_failed", "cancelled")
    checker.run()
    assert {"M1", "L6"} <= checker.with_status("ok")
    db.execute("UPDATE cases SET status = 'resolved', resolution = 'x', resolved_at = now()")
    checker.run()
    assert {"M1", "L6"} <= checker.with_status("BREACH")


def long_ago() -> str:
    return (datetime.now(UTC) - timedelta(hours=2)).isoformat()


@pytest.mark.parametrize(
    ("id_", "change"),
    [
        pytest.param("N2", lambda mails: mails.pop(), id="N2 lost"),
        pytest.param("N2", lambda mails: mails.append(mails[0]), id="N2 twice"),
        pytest.param(
            "N2", lambda mails: mails.append(message(HELD, "lapse", "email")), id="N2 stray"
        ),
        pytest.param("N2", lambda mails: mails[0].update(headers={}), id="N2 nameless"),
        pytest.param(
            "N3", lambda mails: mails.append(message(HELD, "confirmation", "email")), id="N3 untrue"
        ),
        pytest.param("N3", lambda mails: mails[0].update(received_at=long_ago()), id="N3 early"),
        pytest.param("N4", lambda mails: mails[0].update(to="bob@example.test"), id="N4 stranger"),
    ],
)
def test_message_that_should_not_be_is_found(
    id_: str,
    change: Callable[[list[dict[str, Any]]], object],
    checker: Checker,
    witnesses: Witnesses,
) -> None:
    change(witnesses.mails)
    checker.run()
    assert checker.exit_code == 1
    assert id_ in checker.with_status("BREACH")


@pytest.mark.parametrize(
    ("owner", "to", "breaches"),
    [
        ("ada@exämple.test", "ada@xn--exmple-cua.test", set()),
        ("ada@exämple.test", "Ada@XN--EXMPLE-CUA.test", set()),
        ("ada@straße.test", "ada@xn--strae-oqa.test", set()),
        ("ada@xn--99999b.test", "ada@xn--99999b.test", set()),
        ("ada@exämple.test", "bob@xn--exmple-cua.test", {"N4"}),
        ("ada@exämple.test", "ada@example.test", {"N4"}),
        ("ada@straße.test", "ada@strasse.test", {"N4"}),
        ("ada@xn--exmple-cua.test", "xn--exmple-cua@ada.test", {"N4"}),
    ],
)
def test_a_mail_to_the_owners_domain_in_ascii_is_the_owners(
    owner: str, to: str, breaches: set[str], checker: Checker, witnesses: Witnesses, db: Connection
) -> None:
    db.execute("UPDATE users SET email = %s WHERE email = 'ada@example.test'", (owner,))
    for mail in witnesses.mails:
        if mail["channel"] == "email":
            mail["to"] = to
    checker.run()
    assert checker.with_status("BREACH") == breaches


def test_second_message_is_explained_by_an_ambiguous_attempt(
    checker: Checker, witnesses: Witnesses, db: Connection
) -> None:
    witnesses.mails.append(witnesses.mails[0])
    db.execute("UPDATE notification_outbox SET ambiguous_attempts = 1")
    checker.run()
    assert checker.exit_code == 0


def test_webhook_of_an_event_unknown_to_us_need_not_be_stored(
    checker: Checker, witnesses: Witnesses, db: Connection
) -> None:
    """Refused deliveries are answered with 4xx or 5xx: nothing is owed for them."""
    refused = {"state": "pending", "attempts": 1, "last_status": 503}
    witnesses.ledger["events"].append({"id": "evt_x", "type": "x", "deliveries": [refused]})
    insert(
        db,
        "webhook_inbox",
        {"provider": "sandbox", "event_id": "evt_y", "event_type": "x", "body": b"{}"},
    )
    checker.run()
    assert checker.exit_code == 0
