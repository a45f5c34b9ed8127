"""Outgoing webhooks: clean, and then breached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from infra.sealing import SealRing
from infra.settings import DEV_PARTNER_KEYS
from tests.check.builders import Connection, id_of, insert
from tests.check.conftest import Checker

ENDPOINT, DELIVERY, OTHER = id_of("endpoint"), id_of("delivery"), id_of("other ring")
BODY = '{"type":"booking.confirmed"}'
FEED = """
WITH told AS (
    INSERT INTO partner_events (event_id, type, body, projected_at)
    SELECT events.id, kind.type, %(body)s, now() - interval '20 minutes' FROM events
    JOIN (VALUES ('BookingConfirmed', 'booking.confirmed'), ('BookingExpired', 'booking.expired'),
        ('BookingCancelled', 'booking.cancelled'), ('RefundSettled', 'booking.refund_settled'),
        ('BookingRefunded', 'booking.refunded'), ('BookingDisputed', 'booking.disputed'),
        ('BookingChargedBack', 'booking.charged_back'), ('ShowCancelled', 'show.cancelled')
    ) AS kind (event_type, type) USING (event_type)
    ORDER BY events.id RETURNING id
)
UPDATE partner_feed SET (xid, event_id) = (SELECT xid, id FROM events ORDER BY xid DESC, id DESC
                                           LIMIT 1)
"""
OWED = """
INSERT INTO partner_deliveries (endpoint_id, partner_event_id, state, next_attempt_at,
                                total_attempts, delivered_at)
SELECT %(endpoint)s, id, 'delivered', NULL, 1, now() FROM partner_events
WHERE type = 'booking.confirmed'
"""
TAKEN = """
INSERT INTO partner_attempts (delivery_id, number, started_at, status, body_hash)
SELECT delivery.id, 1, now() - interval '19 minutes', 204, sha256(convert_to(body, 'UTF8'))
FROM partner_deliveries AS delivery JOIN partner_events AS event ON event.id = partner_event_id
"""
Spoil = Callable[[Connection], None]


@pytest.fixture
def town(db: Connection) -> Connection:
    """The clean town, told to one endpoint that hears of confirmed bookings."""
    db.execute(FEED, {"body": BODY})
    secret = SealRing(DEV_PARTNER_KEYS).seal(b"s" * 32, f"partner_endpoint:{ENDPOINT}")
    endpoint: dict[str, Any] = {
        "id": ENDPOINT,
        "owner_id": id_of("ada"),
        "url": "https://partner.example/",
        "description": "",
        "event_types": ["booking.confirmed"],
        "secret": secret,
    }
    insert(db, "partner_endpoints", endpoint)
    db.execute(
        "UPDATE partner_endpoints SET types_since = now() - interval '1 hour',"
        " created_at = now() - interval '1 hour'"
    )
    db.execute(OWED, {"endpoint": ENDPOINT})
    db.execute(TAKEN)
    return db


def test_what_was_told_as_it_must_be_breaches_nothing(checker: Checker, town: Connection) -> None:
    [row] = town.execute("SELECT count(*) FROM partner_deliveries").fetchall()
    assert row[0] >= 1
    checker.run()
    assert checker.with_status("BREACH") == set()


def sql(statement: str) -> Spoil:
    def spoil(db: Connection) -> None:
        assert db.execute(statement.encode()).rowcount != 0

    return spoil


def spoil_secret(db: Connection) -> None:
    """Sealed for another endpoint."""
    sealed = SealRing(DEV_PARTNER_KEYS).seal(b"s" * 32, f"partner_endpoint:{OTHER}")
    db.execute("UPDATE partner_endpoints SET secret = %s", (sealed,))


def spoil_previous(db: Connection) -> None:
    db.execute(
        "UPDATE partner_endpoints SET previous_secret = %s, previous_until = now()", (b"\x01\x03",)
    )


@pytest.mark.parametrize(
    ("invariant", "spoil"),
    [
        ("W1", sql("DELETE FROM partner_events WHERE type = 'booking.expired'")),
        ("W1", sql("UPDATE partner_events SET type = 'x' WHERE type = 'booking.expired'")),
        ("W1", sql("DELETE FROM partner_deliveries")),
        ("W1", sql("UPDATE partner_feed SET xid = '0', event_id = 0")),
        (
            "W1",
            sql(
                "UPDATE partner_deliveries SET state = 'pending', next_attempt_at = now(),"
                " due_since = now() - interval '4 days'"
            ),
        ),
        (
            "W1",
            sql(
                "ALTER TABLE partner_deliveries"
                " DROP CONSTRAINT partner_deliveries_endpoint_id_partner_event_id_key"
            ),
        ),
        ("W2", sql("UPDATE partner_events SET body = body || ' '")),
        ("W2", sql("UPDATE partner_attempts SET body_hash = 'x'")),
        ("W2", sql("UPDATE partner_attempts SET status = 500")),
        ("W2", sql("DELETE FROM partner_attempts")),
        ("W3", spoil_secret),
        ("W3", spoil_previous),
        (
            "W3",
            sql(
                "UPDATE partner_endpoints SET state = 'disabled', disabled_reason = 'gone',"
                " disabled_at = now() - interval '30 min'"
            ),
        ),
        (
            "W3",
            sql(
                "WITH off AS (UPDATE partner_endpoints SET state = 'disabled',"
                " disabled_reason = 'gone', disabled_at = now() RETURNING id)"
                " UPDATE partner_deliveries SET state = 'pending', next_attempt_at = now()"
            ),
        ),
    ],
)
def test_a_breach_is_found_and_no_other_reported(
    checker: Checker, town: Connection, invariant: str, spoil: Spoil
) -> None:
    spoil(town)
    checker.run()
    assert checker.with_status("BREACH") == {invariant}
    assert checker.exit_code == 1


def test_what_was_skipped_with_a_reason_is_explained(checker: Checker, town: Connection) -> None:
    town.execute("DELETE FROM partner_attempts")
    town.execute("UPDATE partner_deliveries SET state = 'skipped', reason = 'endpoint_disabled'")
    checker.run()
    assert checker.with_status("BREACH") == set()


def test_without_an_endpoint_nobody_waits_for_the_feed(
    checker: Checker, db: psycopg.Connection[tuple[Any, ...]]
) -> None:
    checker.run()
    assert checker.verdicts["W1"]["status"] == "ok"


def test_another_ring_opens_nothing(checker: Checker, town: Connection) -> None:
    ring = "new:" + "A" * 43 + "="
    checker.run(SEATHOLD_PARTNER_SECRET_KEYS=ring)
    assert checker.with_status("BREACH") == {"W3"}
    checker.run(SEATHOLD_PARTNER_SECRET_KEYS=f"{ring},{DEV_PARTNER_KEYS}")
    assert checker.with_status("BREACH") == set()
