"""A dump in another cluster: its transaction ids are put right, and no reader loses its place."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors
from typer.testing import CliRunner

from infra.postgres import restore
from infra.postgres.audit import PostgresAudit, PostgresAuditSeals
from infra.postgres.database import Database
from seathold import audit
from seathold.cli import app
from tests.conftest import WORKER
from tests.fixtures import servers
from tests.helpers.horizon import horizon_passed

Connection = psycopg.Connection[tuple[object, ...]]
ADD = (
    "INSERT INTO events (aggregate_id, sequence, event_type, payload, actor, version,"
    " previous_hash, hash) VALUES (gen_random_uuid(), 1, 'UserRegistered', '{}', 'x', 1, '', '')"
)
READABLE = "SELECT id FROM events WHERE xid < pg_snapshot_xmin(pg_current_snapshot())"
AFTER = (
    "SELECT events.id FROM events, places WHERE reader = %s"
    " AND (events.xid, events.id) > (places.xid, places.event_id)"
)
FROM_AFAR = "UPDATE {} SET xid = CAST((xid::text::bigint + 1000000000000)::text AS xid8)"


@pytest.fixture
def url() -> str:
    return servers.make_database(os.environ[servers.DATABASE], f"seathold_restored_{WORKER}")


@pytest.fixture
def by(url: str) -> Iterator[Connection]:
    """A superuser: nothing but the database's own dump could write as it does."""
    unguarded = "-c session_replication_role=replica"
    with psycopg.connect(url, autocommit=True, options=unguarded) as connection:
        yield connection


def ids(by: Connection, query: str, *values: object) -> set[object]:
    return {id_ for (id_,) in by.execute(query.encode(), values).fetchall()}


def late_commits(url: str, by: Connection) -> None:
    """Events whose ids and transactions are in opposite order."""
    for _ in range(3):
        with psycopg.connect(url) as slow:
            slow.execute("SELECT pg_current_xact_id()")
            by.execute(ADD.encode())
            slow.execute(ADD.encode())


async def test_each_reader_goes_on_from_where_it_was(
    url: str, by: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    late_commits(url, by)
    by.execute("CREATE TABLE places (reader int, xid xid8, event_id bigint)")
    by.execute("ALTER TABLE places OWNER TO seathold_owner")
    by.execute("INSERT INTO places VALUES (0, '0', 0)")
    by.execute(
        "INSERT INTO places SELECT row_number() OVER (ORDER BY xid, id), xid, id FROM events"
    )
    before = [ids(by, AFTER, reader) for reader in range(7)]
    assert [len(after) for after in before] == [6, 5, 4, 3, 2, 1, 0]
    for table in ("events", "places"):
        by.execute(FROM_AFAR.format(table).encode())
    assert ids(by, READABLE) == set(), "this is what it is for"

    monkeypatch.setenv("SEATHOLD_DATABASE_URL", servers.as_app(url))
    monkeypatch.setenv("SEATHOLD_MIGRATE_DATABASE_URL", servers.as_owner(url))
    told = CliRunner().invoke(app, ["migrate", "--after-restore"])
    assert told.exit_code == 0, told.output
    assert "6 events can be read here" in told.stdout

    assert ids(by, READABLE) == before[0]
    assert [ids(by, AFTER, reader) for reader in range(7)] == before
    by.execute(ADD.encode())
    [new] = ids(by, "SELECT max(id) FROM events")
    assert all(ids(by, AFTER, reader) == {*before[reader], new} for reader in range(7))


def test_every_reader_of_the_events_is_known_by_its_columns(by: Connection) -> None:
    assert ids(by, restore.READERS) == {"partner_feed", "projections"}


async def test_entries_are_sealed_on_after_those_that_were(
    url: str, by: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(servers.settings_for(servers.as_app(url), "redis://127.0.0.1:1/0"))
    seals = PostgresAuditSeals(database)
    for number in range(4):
        async with database.transaction() as session:
            PostgresAudit(session).note("test.done", target=f"x:{number}", actor="operator:test")
        if number == 1:
            await horizon_passed(database)
            assert (await seals.seal())[0] == 2
    by.execute(FROM_AFAR.format("audit_log").encode())
    assert (await seals.seal())[0] == 0, "this is what it is for"
    monkeypatch.setenv("SEATHOLD_DATABASE_URL", servers.as_owner(url))
    assert CliRunner().invoke(app, ["migrate", "--after-restore"]).exit_code == 0
    assert (await seals.seal())[:2] == (2, 4)
    told: list[str] = []
    assert audit.verify(url, told.append), told
    await database.close()


def test_the_triggers_stand_again_and_only_the_owner_may(url: str) -> None:
    run = CliRunner().invoke
    refused = run(app, ["migrate", "--after-restore"], env=_env(servers.as_app(url)))
    assert isinstance(refused.exception, errors.InsufficientPrivilege)
    assert run(app, ["migrate", "--after-restore"], env=_env(servers.as_owner(url))).exit_code == 0
    with psycopg.connect(servers.as_owner(url), autocommit=True) as owner:
        for table in ("events", "audit_log"):
            with pytest.raises(errors.ObjectNotInPrerequisiteState):
                owner.execute(f"TRUNCATE {table} CASCADE".encode())


def _env(url: str) -> dict[str, str]:
    return {"SEATHOLD_DATABASE_URL": url}
