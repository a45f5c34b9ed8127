"""What the application's role may do: it adds to the record, moves state on, and alters no schema.

Who connects as ``seathold_app``, or as a member of it, has these rights and no others; the role
that migrates owns the tables. Columns that no list names are open to the application, so that a
new one needs no line here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import psycopg
from psycopg import sql

APP_ROLE = "seathold_app"

# Rows are added and stay as they are. The columns are the database's to fill: nobody who may only
# add can choose a place in the order, or a time.
RECORD: Mapping[str, Collection[str]] = {
    "events": ("id", "xid", "created_at"),
    "audit_log": ("id", "xid", "at"),
    "audit_seals": ("sealed_at",),
    "ledger_entries": ("id", "posted_at"),
}

# Rows move on and are never removed. The columns say what a row is about: they never change.
MOVING: Mapping[str, Collection[str]] = {
    "bookings": ("id", "user_id", "show_id", "currency", "total_amount", "created_at"),
    "booking_requests": ("id", "user_id", "show_id", "seats", "ticket_types", "created_at"),
    "payments": ("id", "booking_id", "attempt", "provider", "amount", "currency", "created_at"),
    "provider_payments": ("id", "provider", "reference", "booking_id"),
    "refunds": ("id", "booking_id", "provider_payment_id", "amount", "currency", "created_at"),
    "disputes": ("id", "provider_payment_id", "booking_id", "reference", "currency"),
    "seat_claims": ("show_id", "label"),
    "seat_offers": ("provider_payment_id", "booking_id", "seats", "created_at"),
    "cases": ("id", "kind", "dedupe", "opened_at"),
    "webhook_inbox": (
        "id",
        "provider",
        "event_id",
        "event_type",
        "body",
        "received_at",
        "set_aside",
    ),
    "notification_outbox": ("id", "booking_id", "channel", "template", "created_at"),
    "show_cancellations": ("show_id", "reason", "actor", "requested_at"),
}
READ_ONLY = ("alembic_version",)

COLUMNS = """
SELECT relname, array_agg(attname::text ORDER BY attnum) FROM pg_class
JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND attnum > 0
  AND NOT attisdropped
GROUP BY relname ORDER BY relname
"""
ROLE = "SELECT rolcreaterole OR rolsuper, current_user FROM pg_roles WHERE rolname = current_user"
EXISTS = "SELECT FROM pg_roles WHERE rolname = %s"
Statement = sql.SQL | sql.Composed


def apply(url: str) -> bool:
    """Give the application's role its rights, as the owner of the tables; a repeat changes nothing.

    The role is made without a way to log in where it is missing and that may be done.

    Returns:
        Whether there is such a role, apart from the one that migrates.
    """
    with psycopg.connect(url) as connection:
        may_create, myself = _one(connection, ROLE)
        if myself == APP_ROLE:
            return False
        if connection.execute(EXISTS, (APP_ROLE,)).fetchone() is None:
            if not may_create:
                return False
            connection.execute(_named("CREATE ROLE {role} NOLOGIN"))
        # Two migrations at once would trip over each other's changes of the same catalogue rows.
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('seathold grants', 0))")
        connection.execute("SET LOCAL lock_timeout = '5s'")
        for statement in _statements(connection):
            connection.execute(statement)
    return True


def _statements(connection: psycopg.Connection[tuple[object, ...]]) -> list[Statement]:
    tables: list[tuple[str, list[str]]] = connection.execute(COLUMNS).fetchall()  # type: ignore[assignment]
    return [
        _named("REVOKE CREATE ON SCHEMA public FROM PUBLIC"),
        _named("GRANT USAGE ON SCHEMA public TO {role}"),
        _named("REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {role}"),
        _named("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"),
        _named("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}"),
        _named("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"),
        *(one for name, columns in tables for one in _of_table(name, columns)),
    ]


def _of_table(name: str, columns: Collection[str]) -> list[Statement]:
    if name in READ_ONLY:
        return []
    if name in RECORD:
        return [_on_columns("INSERT", name, set(columns) - set(RECORD[name]))]
    if name in MOVING:
        changing = set(columns) - set(MOVING[name])
        return [
            _named("GRANT INSERT ON {table} TO {role}", table=name),
            _on_columns("UPDATE", name, changing),
        ]
    return [_named("GRANT INSERT, UPDATE, DELETE ON {table} TO {role}", table=name)]


def _on_columns(right: str, table: str, columns: Collection[str]) -> Statement:
    return sql.SQL("GRANT {} ({}) ON {} TO {}").format(
        sql.SQL(right),
        sql.SQL(", ").join(map(sql.Identifier, sorted(columns))),
        sql.Identifier(table),
        sql.Identifier(APP_ROLE),
    )


def _named(statement: str, *, table: str = "") -> Statement:
    return sql.SQL(statement).format(role=sql.Identifier(APP_ROLE), table=sql.Identifier(table))


def _one(connection: psycopg.Connection[tuple[object, ...]], query: str) -> tuple[object, ...]:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row
