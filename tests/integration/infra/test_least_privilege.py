"""The application's role: it adds to the past, moves state on, and can rewrite or alter nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors, sql

from infra.postgres import grants
from infra.postgres.database import Database
from infra.postgres.guards import require_guards
from seathold.stack import roles
from tests.conftest import WORKER
from tests.fixtures import servers

Connection = psycopg.Connection[tuple[object, ...]]
RECORD = ("events", "ledger_entries", "audit_log", "audit_seals")
GUARDED = ("events", "audit_log", "audit_seals")
ADD_EVENT = (
    "INSERT INTO events (aggregate_id, sequence, event_type, schema_version, payload, actor,"
    " request_id, version, previous_hash, hash{more}) VALUES (gen_random_uuid(), 1,"
    " 'UserRegistered', 1, '{{}}', 'test', NULL, 1, '', ''{value})"
)
ADD_AUDIT = (
    "INSERT INTO audit_log (actor, role, action, target{more}) VALUES ('a', 'b', 'c', 'd:1'{value})"
)
ADD_POSTING = (
    "INSERT INTO ledger_entries (posting_id, kind, booking_id, show_id, provider,"
    " provider_payment_id, account, debit, credit, currency{more})"
    " SELECT id, 'captured', id, id, 'sandbox', id, account, debit, 5 - debit, 'EUR'{value}"
    " FROM gen_random_uuid() AS id, (VALUES ('provider', 5), ('buyer', 0)) AS one (account, debit)"
)


@dataclass
class Place:
    """One database and three who come to it."""

    url: str
    app: Connection
    owner: Connection
    superuser: Connection


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    url = servers.make_database(os.environ[servers.DATABASE], f"seathold_rights_{WORKER}")
    with (
        psycopg.connect(servers.as_app(url)) as app,
        psycopg.connect(servers.as_owner(url)) as owner,
        psycopg.connect(url) as superuser,
    ):
        yield Place(url, app, owner, superuser)


@pytest.fixture(autouse=True)
def undone(place: Place) -> Iterator[None]:
    yield
    for connection in (place.app, place.owner, place.superuser):
        connection.rollback()


# Each with what lets the owner do it all the same: no right of the application's is missing by
# mistake of the statement.
BY_THE_OWNER = [
    "UPDATE events SET actor = 'me'",
    "UPDATE audit_log SET actor = 'me'",
    "UPDATE audit_seals SET hash = ''",
    "UPDATE ledger_entries SET debit = debit + 1",
    *map("DELETE FROM {}".format, RECORD),
    *(f"TRUNCATE {table} CASCADE" for table in RECORD),
    *(f"ALTER TABLE {table} ADD COLUMN more text" for table in (*RECORD, "bookings")),
    *(f"DROP TABLE {table} CASCADE" for table in RECORD),
    *(f"DROP TRIGGER record_is_append_only ON {table}" for table in GUARDED),
    "DROP TRIGGER ledger_is_append_only ON ledger_entries",
    "ALTER TABLE events DISABLE TRIGGER record_is_append_only",
    "ALTER TABLE events OWNER TO CURRENT_USER",
    "CREATE TRIGGER mine BEFORE INSERT ON events EXECUTE FUNCTION record_is_append_only()",
    "CREATE RULE mine AS ON INSERT TO events DO INSTEAD NOTHING",
    (
        "CREATE OR REPLACE FUNCTION record_is_append_only() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN RETURN NULL; END'"
    ),
    "DROP FUNCTION record_is_append_only CASCADE",
    "CREATE TABLE mine ()",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE SCHEMA mine",
    "DROP INDEX seat_claims_show_label_key",
    "ALTER TABLE bookings DROP CONSTRAINT bookings_pkey CASCADE",
    "UPDATE bookings SET total_amount = 0",
    "UPDATE bookings SET user_id = gen_random_uuid()",
    "UPDATE refunds SET amount = 1",
    "DELETE FROM bookings",
    "DELETE FROM provider_payments",
    "UPDATE webhook_inbox SET body = ''",
    "UPDATE alembic_version SET version_num = '0'",
    "SELECT setval('events_id_seq', 1)",
    ADD_EVENT.format(more=", created_at", value=", now() - interval '1 year'"),
    ADD_EVENT.format(more=", xid", value=", '3'"),
    ADD_EVENT.format(more=", id", value=", 1"),
    ADD_AUDIT.format(more=", at", value=", now() - interval '1 year'"),
    ADD_AUDIT.format(more=", xid", value=", '3'"),
    ADD_POSTING.format(more=", posted_at", value=", now() - interval '1 year'"),
]
BY_A_SUPERUSER = [
    "SET session_replication_role = replica",
    "ALTER TABLE events DISABLE TRIGGER ALL",
    "ALTER ROLE seathold_app SUPERUSER",
    "CREATE ROLE mine",
    "SET ROLE seathold_owner",
    "COPY (SELECT 1) TO PROGRAM 'cat >/dev/null'",
]


@pytest.mark.parametrize("statement", [*BY_THE_OWNER, *BY_A_SUPERUSER])
def test_the_application_is_refused(place: Place, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        place.app.execute(statement.encode())


@pytest.mark.parametrize("statement", BY_THE_OWNER)
def test_the_owner_can(place: Place, statement: str) -> None:
    if not statement.startswith("DROP TRIGGER"):
        for table in GUARDED:
            place.owner.execute(f"DROP TRIGGER record_is_append_only ON {table}".encode())
        place.owner.execute("DROP TRIGGER ledger_is_append_only ON ledger_entries")
    if "DISABLE TRIGGER" in statement:
        place.owner.rollback()
    place.owner.execute(statement.encode())


@pytest.mark.parametrize("statement", BY_A_SUPERUSER)
def test_a_superuser_can(place: Place, statement: str) -> None:
    place.superuser.execute(statement.encode())


@pytest.mark.parametrize("table", RECORD)
@pytest.mark.parametrize("verb", ["DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_a_trigger_stops_even_a_superuser_who_does_not_mean_it(
    place: Place, table: str, verb: str
) -> None:
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match=f"{table} is append-only"):
        place.superuser.execute(verb.format(table).encode())


@pytest.mark.parametrize("add", [ADD_EVENT, ADD_AUDIT, ADD_POSTING])
def test_the_application_adds_to_the_record_and_reads_it(place: Place, add: str) -> None:
    place.app.execute(add.format(more="", value="").encode())
    for table in RECORD:
        place.app.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))


def test_every_table_can_be_read_and_added_to(place: Place) -> None:
    lacking = place.app.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind = 'r' AND NOT (has_table_privilege(oid, 'SELECT')"
        " AND has_any_column_privilege(oid, 'INSERT'))"
    ).fetchall()
    assert lacking == [("alembic_version",)]
    for table in (*grants.RECORD, *grants.MOVING):
        assert place.app.execute("SELECT to_regclass(%s)", (table,)).fetchone() != (None,), table


def rights(connection: Connection) -> list[tuple[object, ...]]:
    tables = connection.execute(
        "SELECT relname, relacl::text[] FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    ).fetchall()
    columns = connection.execute(
        "SELECT attrelid::regclass::text, attname, attacl::text[] FROM pg_attribute"
        " WHERE attacl IS NOT NULL AND attnum > 0"
    ).fetchall()
    connection.rollback()
    return sorted([*tables, *columns], key=str)


def test_migrating_again_gives_the_same_rights_and_takes_what_was_added(place: Place) -> None:
    before = rights(place.superuser)
    place.owner.execute("GRANT UPDATE ON events TO seathold_app")
    place.owner.execute("GRANT DELETE ON bookings TO seathold_app")
    place.owner.commit()
    assert rights(place.superuser) != before
    assert grants.apply(servers.as_owner(place.url))
    assert rights(place.superuser) == before


def test_a_table_that_no_list_names_is_the_applications_to_use(place: Place) -> None:
    place.owner.execute("CREATE TABLE later (id serial, words text)")
    place.owner.commit()
    grants.apply(servers.as_owner(place.url))
    place.app.execute("INSERT INTO later (words) VALUES ('x')")
    place.app.execute("UPDATE later SET words = 'y'")
    place.app.execute("DELETE FROM later")
    with pytest.raises(errors.InsufficientPrivilege):
        place.app.execute("TRUNCATE later")
    place.app.rollback()
    place.owner.execute("DROP TABLE later")
    place.owner.commit()


def test_without_the_role_migrating_makes_it_or_says_so(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"app_{uuid4().hex[:8]}"
    monkeypatch.setattr(grants, "APP_ROLE", name)
    assert not grants.apply(servers.as_owner(place.url))
    assert grants.apply(place.url)
    found = place.superuser.execute(
        "SELECT rolcanlogin, has_table_privilege(oid, 'events', 'SELECT'),"
        " has_table_privilege(oid, 'events', 'DELETE') FROM pg_roles WHERE rolname = %s",
        (name,),
    ).fetchall()
    assert found == [(False, True, False)]
    role = sql.Identifier(name)
    place.superuser.execute(sql.SQL("DROP OWNED BY {}; DROP ROLE {}").format(role, role))
    place.superuser.commit()


def test_who_migrates_as_the_application_keeps_the_owners_rights(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One URL for all, and its role happens to bear that name."""
    monkeypatch.setattr(grants, "APP_ROLE", roles.OWNER)
    assert not grants.apply(servers.as_owner(place.url))
    place.owner.execute("SELECT * FROM events")


async def start(url: str, *, production: bool) -> None:
    database = Database(servers.settings_for(url, "redis://127.0.0.1:1/0", db_pool_size=1))
    try:
        await require_guards(database, production=production)
    finally:
        await database.close()


async def test_production_starts_as_the_application(place: Place) -> None:
    await start(servers.as_app(place.url), production=True)


async def test_production_refuses_who_can_rewrite_the_past(place: Place) -> None:
    with pytest.raises(RuntimeError, match=r"alter events.*SEATHOLD_MIGRATE_DATABASE_URL"):
        await start(servers.as_owner(place.url), production=True)
    with pytest.raises(RuntimeError, match=r"be a superuser.*switch triggers off"):
        await start(place.url, production=True)


@pytest.mark.parametrize(
    ("given", "taken", "named"),
    [
        *(
            (
                f"GRANT {right} ON {table} TO seathold_app",
                f"REVOKE {right} ON {table} FROM seathold_app",
                f"rewrite {table}",
            )
            for right in ("UPDATE", "DELETE", "TRUNCATE", "TRIGGER")
            for table in RECORD
        ),
        (
            "GRANT UPDATE (actor) ON events TO seathold_app",
            "REVOKE UPDATE (actor) ON events FROM seathold_app",
            "rewrite events",
        ),
        (
            "GRANT CREATE ON SCHEMA public TO seathold_app",
            "REVOKE CREATE ON SCHEMA public FROM seathold_app",
            "create tables",
        ),
    ],
)
async def test_production_refuses_each_right_too_many(
    place: Place, given: str, taken: str, named: str
) -> None:
    place.owner.execute(given.encode())
    place.owner.commit()
    try:
        with pytest.raises(RuntimeError, match=named):
            await start(servers.as_app(place.url), production=True)
    finally:
        place.owner.execute(taken.encode())
        place.owner.commit()


async def test_development_starts_on_one_url_for_all(place: Place) -> None:
    await start(servers.as_owner(place.url), production=False)
