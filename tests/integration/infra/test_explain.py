"""Every query of a booking's paths uses an index, on the statistics of a million bookings.

The rows are few; what the planner believes of their number is written into its own catalogue.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.postgres import booking, outbox, payment, seat, work
from infra.postgres.engine import create_engine
from infra.settings import Settings
from readmodel import bookings, catalogue
from tests.fixtures import servers

ROWS = 3000
BELIEVED = 1_000_000
BIG = (
    "bookings",
    "booking_seats",
    "booking_requests",
    "seat_claims",
    "payments",
    "provider_payments",
    "refunds",
    "events",
    "notification_outbox",
    "webhook_inbox",
)
FILL = """
SET session_replication_role = replica;
INSERT INTO bookings (id, user_id, show_id, state, currency, total_amount, seat_count,
                      hold_expires_at, hold_max_expires_at)
SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(),
       CASE WHEN n % 100 = 0 THEN 'held' ELSE 'confirmed' END, 'EUR', 100, 1, now(), now()
FROM generate_series(1, {rows}) AS n;
INSERT INTO booking_seats (booking_id, label, price_class, amount)
SELECT id, 'A1', 'standard', 100 FROM bookings;
INSERT INTO booking_requests (id, user_id, show_id, body_hash, seats, ticket_types, outcome)
SELECT id, user_id, show_id, '', '{{A1}}', '{{standard}}', 'held' FROM bookings;
INSERT INTO seat_claims (show_id, label, state, booking_id)
SELECT show_id, 'A1', 'sold', id FROM bookings;
INSERT INTO payments (id, booking_id, attempt, provider, session_id, status, amount, currency,
                      expires_at)
SELECT gen_random_uuid(), id, 1, 'sandbox', id::text, 'captured', 100, 'EUR', now() FROM bookings;
INSERT INTO provider_payments (id, provider, reference, booking_id, payment_id, status, amount,
                               currency, captured, decision)
SELECT gen_random_uuid(), 'sandbox', id::text, booking_id, id, 'captured', 100, 'EUR', 100,
       'confirms' FROM payments;
INSERT INTO refunds (id, booking_id, provider_payment_id, idempotency_key, reason, status, amount,
                     currency)
SELECT gen_random_uuid(), booking_id, id, id::text, 'late', 'succeeded', 100, 'EUR'
FROM provider_payments;
INSERT INTO events (aggregate_id, sequence, event_type, payload, actor, version, previous_hash,
                    hash)
SELECT id, 1, 'ReservationCreated', '{{}}', 'x', 1, '', '' FROM bookings;
INSERT INTO notification_outbox (booking_id, user_id, channel, template, state, next_attempt_at)
SELECT id, user_id, 'email', 'confirmation', 'sent', NULL FROM bookings;
INSERT INTO webhook_inbox (provider, event_id, event_type, body, status)
SELECT 'sandbox', id::text, 'x', '', 'done' FROM bookings;
SET session_replication_role = origin;
ANALYZE;
UPDATE pg_class SET reltuples = {believed} WHERE relname = ANY('{{{big}}}');
"""

ID = uuid4()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ASKED: list[tuple[str, TextClause, dict[str, Any]]] = [
    ("read a booking", bookings.BY_ID, {"id": ID}),
    ("read a request", bookings.REQUEST, {"id": ID}),
    ("timeline", bookings.EVENTS, {"id": ID}),
    (
        "a user's bookings",
        bookings.OF_USER,
        {"user_id": ID, "state": None, "before_at": None, "before_id": None, "limit": 20},
    ),
    (
        "a user's next bookings",
        bookings.OF_USER,
        {"user_id": ID, "state": "held", "before_at": NOW, "before_id": ID, "limit": 20},
    ),
    ("availability", catalogue.AVAILABILITY, {"id": ID}),
    ("a show", catalogue.SHOW, {"id": ID}),
    ("hold context", booking.HOLD_CONTEXT, {"booking_id": ID, "user_id": ID, "show_id": ID}),
    ("lock", booking.LOCK, {"id": ID}),
    ("peek", booking.PEEK, {"id": ID}),
    ("lapsed holds", booking.LOCK_LAPSED, {"show_id": ID, "labels": ["A1"]}),
    ("seats of a booking", booking.SEATS, {"id": ID}),
    ("settle a request", booking.SETTLE_REQUEST, {"id": ID, "outcome": "x", "refusal": None}),
    ("active claims", seat.ACTIVE, {"show_id": ID, "labels": ["A1"]}),
    ("active claims of a show", seat.ACTIVE, {"show_id": ID, "labels": None}),
    ("sell", seat.SELL, {"booking_id": ID}),
    ("free", seat.FREE, {"booking_id": ID}),
    ("open attempt", payment.OPEN_ATTEMPT, {"booking_id": ID}),
    ("open sessions", payment.OPEN_SESSIONS, {"booking_id": ID}),
    ("latest attempt", payment.LATEST, {"id": ID}),
    ("last attempt's number", payment.LAST_ATTEMPT, {"booking_id": ID}),
    ("attempt by session", payment.BY_SESSION, {"provider": "sandbox", "session_id": "x"}),
    ("receipt", payment.RECEIPT, {"id": ID}),
    ("confirming receipt", payment.CONFIRMING, {"booking_id": ID}),
    ("refund of a payment", payment.REFUND_OF, {"id": ID}),
    ("refunds of a booking", payment.COUNT_REFUNDS, {"id": ID}),
    ("take webhooks", work.TAKE_INBOX, {"limit": 20}),
    ("take polls", work.TAKE_POLLS, {"limit": 20}),
    ("overdue bookings", work.OVERDUE, {"seconds": 5, "limit": 50}),
    ("dead requests", work.SETTLE_DEAD_REQUESTS, {"seconds": 35, "refusal": "{}"}),
    ("undecided captures", work.UNDECIDED, {"seconds": 5, "limit": 50}),
    ("pending refunds", work.PENDING_REFUNDS, {"seconds": 5, "limit": 50}),
    ("due notices", outbox.CLAIM, {"limit": 20, "lease_seconds": 60}),
]


@pytest.fixture(scope="module")
def million(settings: Settings) -> Iterator[Settings]:
    admin = os.environ[servers.DATABASE]
    name = f"explain_{os.environ.get('PYTEST_XDIST_WORKER', 'master')}"
    url = servers.make_database(admin, name)
    fill = FILL.format(rows=ROWS, believed=BELIEVED, big=",".join(BIG))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(fill.encode())
    yield servers.settings_for(url, "redis://127.0.0.1:1/0")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture
async def connection(million: Settings) -> AsyncIterator[AsyncConnection]:
    engine = create_engine(million)
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


async def whole_reads(
    connection: AsyncConnection, statement: TextClause, values: dict[str, Any]
) -> list[str]:
    """The big tables that the statement's plan reads from end to end."""
    explain = text(f"EXPLAIN (FORMAT JSON) {statement.text}")
    plan = await connection.scalar(explain, values)
    return sorted(set(_scanned(plan[0]["Plan"])))


def _scanned(plan: dict[str, Any]) -> Iterator[str]:
    if plan["Node Type"] == "Seq Scan" and plan["Relation Name"] in BIG:
        yield plan["Relation Name"]
    for part in plan.get("Plans", []):
        yield from _scanned(part)


@pytest.mark.parametrize(
    ("statement", "values"), [row[1:] for row in ASKED], ids=[r[0] for r in ASKED]
)
async def test_no_big_table_is_read_whole(
    connection: AsyncConnection, statement: TextClause, values: dict[str, Any]
) -> None:
    assert await whole_reads(connection, statement, values) == []


async def test_without_its_index_a_query_is_caught(connection: AsyncConnection) -> None:
    await connection.execute(text("DROP INDEX seat_claims_booking_idx"))
    assert await whole_reads(connection, seat.FREE, {"booking_id": UUID(int=1)}) == ["seat_claims"]
    await connection.rollback()
