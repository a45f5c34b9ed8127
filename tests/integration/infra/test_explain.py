"""Every SQL statement uses an index, on the statistics of a million bookings.

The rows are few; what the planner believes of their number is written into its own catalogue. It
still sees few pages, so that reading a table whole tempts it more than it would in earnest.
Statements are found in the modules, not listed, so that a new one is asked too. Each is planned
for given values, and once for any values, as a server does that has prepared it.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Collection, Iterator
from types import ModuleType
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import TextClause, text
from sqlalchemy.dialects import postgresql

import infra.postgres
import readmodel
from infra.postgres import payment, seat, users
from infra.postgres.database import BEGIN, COMMIT, ROLLBACK
from infra.postgres.tables import NOW as CLOCK
from infra.settings import Settings
from readmodel import audit, bookings, cases, partners
from seathold import events as chains
from tests.fixtures import servers

# They read no table.
NO_QUERIES = (CLOCK, BEGIN, COMMIT, ROLLBACK)
ROWS = 3000
BELIEVED = 1_000_000
# In the planner's units. Reading a million rows is 10,000 and more; a hall's seats are 500.
DEAR = 1_000
BIG = (
    "bookings",
    "booking_seats",
    "booking_requests",
    "seat_claims",
    "payments",
    "provider_payments",
    "refunds",
    "disputes",
    "seat_offers",
    "ledger_entries",
    "events",
    "notification_outbox",
    "webhook_inbox",
    "idempotency_keys",
    "users",
    "sessions",
    "account_tokens",
    "second_factors",
    "recovery_codes",
    "cases",
    "partner_events",
    "partner_deliveries",
    "partner_attempts",
    "projected_seats",
    "projected_timeline",
    "projected_demand",
    "audit_log",
    "audit_seals",
)
# The catalogue does not grow with the bookings; its own questions are asked in
# tests/integration/readmodel/.
SMALL = {
    "alembic_version",
    "api_keys",  # a few a partner
    "auditoriums",
    "movies",
    "partner_endpoints",  # ten an account that has any
    "partner_feed",
    "prices",
    "projected_listing",  # one row a show
    "projected_sales",  # one row a show
    "projections",
    "reconciliations",  # one row a provider
    "seat_maps",
    "seats",
    "show_cancellations",  # one row a show at most
    "shows",
    "theatres",
}
FILL = """
SET session_replication_role = replica;
INSERT INTO theatres (id, name, city, address, timezone)
SELECT gen_random_uuid(), n, n, '', 'UTC' FROM generate_series(1, {rows}) AS n;
INSERT INTO auditoriums (id, theatre_id, name) SELECT gen_random_uuid(), id, name FROM theatres;
INSERT INTO movies (id, source_key, title, genres)
SELECT id, name, name, '{{Drama}}' FROM auditoriums;
INSERT INTO shows (id, movie_id, auditorium_id, auditorium_number, seat_map_id, starts_at, ends_at,
                   free_at, currency, sales_open_at, sales_close_at)
SELECT gen_random_uuid(), id, id, number, id, now(), now() + interval '1 hour',
       now() + interval '2 hours', 'EUR', now(), now() FROM auditoriums;
INSERT INTO users (id, email, email_key, name, password_hash)
SELECT gen_random_uuid(), n || '@example.test', n || '@example.test', 'Ada', ''
FROM generate_series(1, {rows}) AS n;
INSERT INTO sessions (id, user_id, token_hash, idle_expires_at, expires_at, ended_at)
SELECT gen_random_uuid(), id, sha256(email::bytea), now(), now(),
       CASE WHEN random() > 0.5 THEN now() - make_interval(mins => (random() * 1e5)::int) END
FROM users;
INSERT INTO account_tokens (id, user_id, purpose, token_hash, expires_at)
SELECT gen_random_uuid(), id, 'verify_email', sha256(email::bytea), now() FROM users;
INSERT INTO second_factors (user_id, secret) SELECT id, '' FROM users;
INSERT INTO recovery_codes (user_id, code_hash) SELECT id, sha256(email::bytea) FROM users;
INSERT INTO idempotency_keys (user_id, route, key_hash, body_hash, lease_until, owner)
SELECT id, 'POST /api/bookings', sha256(email::bytea), '', now(), id FROM users;
INSERT INTO bookings (id, user_id, show_id, state, currency, total_amount, seat_count,
                      hold_expires_at, hold_max_expires_at)
SELECT gen_random_uuid(), users.id, show.id,
       CASE WHEN show.n % 100 = 0 THEN 'held' ELSE 'confirmed' END, 'EUR', 100, 1, now(), now()
FROM (SELECT id, row_number() OVER () AS n FROM users) AS users
JOIN (SELECT id, row_number() OVER () AS n FROM shows) AS show USING (n);
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
                               currency, captured, decision, reconciled_at)
SELECT gen_random_uuid(), 'sandbox', id::text, booking_id, id, 'captured', 100, 'EUR', 100,
       'confirms', CASE WHEN random() > 0.01 THEN now() END FROM payments;
INSERT INTO refunds (id, booking_id, provider_payment_id, idempotency_key, reason, status, amount,
                     currency)
SELECT gen_random_uuid(), booking_id, id, id::text, 'late', 'succeeded', 100, 'EUR'
FROM provider_payments;
INSERT INTO disputes (id, provider_payment_id, booking_id, reference, status, amount, currency,
                      opened_at, closed_at)
SELECT gen_random_uuid(), id, booking_id, id::text, 'won', 100, 'EUR', now(), now()
FROM provider_payments;
INSERT INTO seat_offers (provider_payment_id, booking_id, state, seats, expires_at, ended_at)
SELECT id, booking_id, 'declined', '[]', now(), now() FROM provider_payments;
INSERT INTO ledger_entries (posting_id, kind, booking_id, show_id, provider, provider_payment_id,
                            account, debit, credit, currency, posted_at)
SELECT booking_id, 'captured', booking_id, show_id, 'sandbox', paid.id, account, debit, credit,
       'EUR', now() - make_interval(mins => (row_number() OVER ())::int)
FROM provider_payments AS paid JOIN bookings ON bookings.id = booking_id,
     (VALUES ('provider', 100, 0), ('buyer', 0, 100)) AS two (account, debit, credit);
INSERT INTO events (aggregate_id, sequence, event_type, payload, actor, version, previous_hash,
                    hash)
SELECT id, 1, 'ReservationCreated', '{{}}', 'x', 1, '', '' FROM bookings;
INSERT INTO notification_outbox (booking_id, user_id, channel, template, state, next_attempt_at)
SELECT id, user_id, 'email', 'confirmation', 'sent', NULL FROM bookings;
INSERT INTO webhook_inbox (provider, event_id, event_type, body, status)
SELECT 'sandbox', id::text, 'x', '', 'done' FROM bookings;
INSERT INTO cases (id, kind, dedupe, booking_id, summary, status, resolution, resolved_at)
SELECT id, 'wrong_amount', id::text, id, 'x', 'resolved', 'x', created_at FROM bookings;
INSERT INTO partner_endpoints (id, owner_id, url, description, event_types, secret)
SELECT id, id, '', '', '{{booking.confirmed}}', '' FROM users LIMIT 50;
INSERT INTO partner_events (event_id, type, body)
SELECT row_number() OVER (), 'booking.confirmed', '{{}}' FROM bookings;
INSERT INTO partner_deliveries (endpoint_id, partner_event_id, state, next_attempt_at)
SELECT endpoint.id, event.id, 'delivered', NULL
FROM (SELECT id, row_number() OVER () AS n FROM partner_endpoints) AS endpoint
JOIN partner_events AS event ON event.id % 50 + 1 = endpoint.n;
INSERT INTO partner_attempts (delivery_id, number, started_at, status, body_hash)
SELECT id, 1, now(), 200, '' FROM partner_deliveries;
INSERT INTO projections (name, generation, state)
SELECT name, 1, 'live' FROM unnest(ARRAY['availability', 'timeline', 'demand']) AS name;
INSERT INTO projected_seats (generation, show_id, label, fence, state, booking_id)
SELECT 1, show_id, 'A1', 1, 'sold', id FROM bookings;
INSERT INTO projected_timeline (generation, booking_id, sequence, text)
SELECT 1, id, 1, 'x' FROM bookings;
INSERT INTO projected_demand (generation, hour, show_id, bookings, seats, confirmed, lapsed)
SELECT 1, now() - make_interval(hours => (row_number() OVER ())::int), show_id, 1, 1, 1, 0
FROM bookings;
INSERT INTO audit_log (actor, role, action, target)
SELECT id, 'admin', 'case.resolve', 'case:' || id FROM bookings;
INSERT INTO audit_seals (sequence, audit_id, previous_hash, hash) SELECT id, id, '', ''
FROM audit_log;
SET session_replication_role = origin;
ALTER TABLE audit_log ALTER actor SET (n_distinct = -0.01), ALTER target SET (n_distinct = -0.2);
ALTER TABLE bookings ALTER show_id SET (n_distinct = -0.005), ALTER user_id SET (n_distinct = -0.2);
ALTER TABLE seat_claims ALTER show_id SET (n_distinct = -0.005);
ALTER TABLE ledger_entries ALTER show_id SET (n_distinct = -0.00125),
    ALTER booking_id SET (n_distinct = -0.25);
ALTER TABLE events ALTER aggregate_id SET (n_distinct = -0.1);
ALTER TABLE sessions ALTER user_id SET (n_distinct = -0.1);
ALTER TABLE idempotency_keys ALTER user_id SET (n_distinct = -0.1);
ANALYZE theatres, auditoriums, movies, shows, partner_endpoints, projections;
ANALYZE {big};
UPDATE pg_class SET reltuples = {believed}
WHERE oid = ANY(CAST(string_to_array('{big}', ',') AS regclass[]));
"""

NUMBERED = postgresql.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
QUEUES = "SELECT array_agg(indexrelid::regclass::text) FROM pg_index WHERE indpred IS NOT NULL"
TABLES = """
SELECT array_agg(relname::text) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
"""
# By PostgreSQL's names of the types.
SAMPLES = {
    "uuid": "00000000-0000-4000-8000-000000000001",
    "text": "x",
    "smallint": "1",
    "integer": "1",
    "bigint": "1",
    "double precision": "1",
    "double precision[]": "{1}",
    "boolean": "true",
    "bytea": "x",
    "jsonb": "{}",
    "date": "2026-01-01",
    "timestamp with time zone": "2026-01-01T00:00:00Z",
    "timestamp with time zone[]": "{2026-01-01T00:00:00Z}",
    "uuid[]": "{00000000-0000-4000-8000-000000000001}",
    "text[]": "{A1,x}",
    "integer[]": "{1}",
    "bigint[]": "{1}",
    "bytea[]": "{x}",
    "xid8": "1",
    "jsonb[]": "{}",
}


def found_statements() -> Iterator[tuple[str, TextClause]]:
    """Every statement that a module of ours keeps, with its name."""
    for package in (infra.postgres, readmodel):
        for name in _modules_of(package):
            for constant, value in vars(importlib.import_module(name)).items():
                if isinstance(value, TextClause) and value not in NO_QUERIES:
                    yield f"{name}.{constant}", value


def _modules_of(package: ModuleType) -> list[str]:
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [module.name for module in found]


STATEMENTS = dict(found_statements())


@pytest.fixture(scope="module")
def million(settings: Settings) -> Iterator[psycopg.Connection]:
    """A database whose planner believes in a million rows of everything."""
    admin = os.environ[servers.DATABASE]
    name = f"explain_{os.environ.get('PYTEST_XDIST_WORKER', 'master')}"
    fill = FILL.format(rows=ROWS, believed=BELIEVED, big=",".join(BIG))
    with psycopg.connect(servers.make_database(admin, name)) as connection:
        connection.execute(fill.encode())
        connection.commit()
        yield connection
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture
def connection(million: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """What a test changes is undone."""
    yield million
    million.rollback()


def trouble(
    connection: psycopg.Connection,
    statement: TextClause,
    *,
    mode: str,
    absent: Collection[str] = (),
) -> list[str]:
    """The big tables that the plan reads from end to end, and whether it is too dear.

    Parameters in ``absent`` are NULL.
    """
    compiled = statement.compile(dialect=NUMBERED)
    connection.execute(f"PREPARE asked AS {compiled}".encode())
    types = _value(connection, "SELECT parameter_types::text[] FROM pg_prepared_statements")
    names = compiled.positiontup or []
    values = [
        "NULL" if name in absent else f"'{SAMPLES[kind]}'"
        for name, kind in zip(names, types, strict=True)
    ]
    connection.execute(f"SET LOCAL plan_cache_mode = {mode}".encode())
    call = f"asked({', '.join(values)})" if values else "asked"
    plan = _value(connection, f"EXPLAIN (FORMAT JSON) EXECUTE {call}")
    connection.execute("DEALLOCATE asked")
    queues = _value(connection, QUEUES)
    nodes = list(_nodes(plan[0]["Plan"]))
    dear = nodes[0]["Total Cost"] > DEAR and any(node.get("Relation Name") in BIG for node in nodes)
    return sorted({node["Relation Name"] for node in nodes if _is_whole(node, queues)}) + (
        ["too dear"] if dear else []
    )


def _value(connection: psycopg.Connection, query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from _nodes(part)


def _is_whole(node: dict[str, Any], queues: list[str]) -> bool:
    """A walk along a whole index counts too, unless it is one that only holds what waits."""
    index = node.get("Index Name")
    walked = index is not None and "Index Cond" not in node and index not in queues
    return node.get("Relation Name") in BIG and (node["Node Type"] == "Seq Scan" or walked)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", STATEMENTS)
def test_no_big_table_is_read_whole(connection: psycopg.Connection, name: str, mode: str) -> None:
    assert trouble(connection, STATEMENTS[name], mode=mode) == []


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        (bookings.OF_USER, {"state"}),
        (bookings.OF_USER, {"before_at", "before_id"}),
        (bookings.OF_USER, {"state", "before_at", "before_id"}),
        (bookings.PENDING_OF_USER, {"before_at", "before_id"}),
        (seat.ACTIVE, {"labels"}),
        (audit.LIST, {"since", "until"}),
        (audit.LIST_OF_ACTOR, {"action", "since", "until"}),
        (audit.LIST_OF_ACTION, {"since", "until"}),
        (audit.LIST_OF_TARGET, {"actor", "action", "since", "until"}),
        (cases.LIST, {"status"}),
        (cases.LIST, {"status", "before_at", "before_id"}),
        (cases.LIST_OF_KIND, {"status", "before_at", "before_id"}),
        (partners.DELIVERIES, {"endpoint_id", "state", "before_at", "before_id"}),
    ],
)
def test_nor_where_a_question_is_left_open(
    connection: psycopg.Connection, statement: TextClause, absent: set[str]
) -> None:
    assert trouble(connection, statement, mode="force_custom_plan", absent=absent) == []


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(
    ("lost", "statement", "table"),
    [
        ("INDEX seat_claims_booking_idx", seat.FREE, "seat_claims"),
        ("CONSTRAINT payments_provider_session_id_key", payment.BY_SESSION, "payments"),
        ("CONSTRAINT users_email_key_key", users.BY_KEY, "users"),
    ],
)
def test_without_its_index_a_query_is_caught(
    connection: psycopg.Connection, lost: str, statement: TextClause, table: str, mode: str
) -> None:
    drop = f"ALTER TABLE {table} DROP" if lost.startswith("CONSTRAINT") else "DROP"
    connection.execute(f"{drop} {lost}".encode())
    assert trouble(connection, statement, mode=mode) == [table, "too dear"]


def test_a_detour_by_way_of_every_show_is_caught(connection: psycopg.Connection) -> None:
    connection.execute("DROP INDEX bookings_user_idx, bookings_user_show_idx")
    assert trouble(connection, bookings.OF_USER, mode="force_custom_plan") == ["too dear"]


def test_a_walk_along_a_whole_index_is_caught(connection: psycopg.Connection) -> None:
    first = text("SELECT id FROM webhook_inbox WHERE event_type = 'x' ORDER BY id LIMIT 1")
    assert trouble(connection, first, mode="force_custom_plan") == ["webhook_inbox"]


BOUND = " AND bookings.id >= %(id)s"


@pytest.mark.parametrize(("lost", "whole"), [("", []), (BOUND, ["bookings"])])
def test_a_page_of_the_chains_does_not_begin_with_the_first_booking(
    connection: psycopg.Connection, lost: str, whole: list[str]
) -> None:
    connection.execute("SET LOCAL enable_nestloop = off; SET LOCAL enable_hashjoin = off")
    page = chains.PAGE.replace(lost, "")
    place = {"id": UUID(SAMPLES["uuid"]), "sequence": 1, "limit": chains.BATCH}
    plan = psycopg.ClientCursor(connection).execute(f"EXPLAIN (FORMAT JSON) {page}".encode(), place)
    [[[told]]] = plan.fetchall()
    nodes = _nodes(told["Plan"])
    assert [node["Relation Name"] for node in nodes if _is_whole(node, [])] == whole


def test_every_table_that_grows_is_watched(connection: psycopg.Connection) -> None:
    assert set(_value(connection, TABLES)) - set(BIG) == SMALL
