"""The audit log and the application's rights, spoilt on purpose: the check says so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from infra.postgres.audit import PostgresAudit, PostgresAuditSeals
from infra.postgres.database import Database
from seathold.checker import record
from tests.check.builders import Connection
from tests.check.conftest import Checker
from tests.fixtures import servers
from tests.helpers.horizon import horizon_passed

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
async def sealed(database_url: str) -> None:
    """Four entries and their seals."""
    database = Database(servers.settings_for(servers.as_app(database_url), NOWHERE))
    try:
        for number in range(4):
            async with database.transaction() as session:
                PostgresAudit(session).note(
                    "test.done", target=f"x:{number}", actor="operator:test", details={"n": number}
                )
        await horizon_passed(database)
        assert (await PostgresAuditSeals(database).seal())[0] == 4
    finally:
        await database.close()


FORGERIES = [
    "UPDATE audit_log SET reason = 'another' WHERE target = 'x:1'",
    "UPDATE audit_log SET role = 'owner' WHERE target = 'x:1'",
    "UPDATE audit_log SET at = at - interval '1 s' WHERE target = 'x:1'",
    "UPDATE audit_log SET details = '{\"n\": 7}' WHERE target = 'x:1'",
    "DELETE FROM audit_log WHERE target = 'x:1'",
    "DELETE FROM audit_seals WHERE sequence = 2",
    "UPDATE audit_seals SET previous_hash = '' WHERE sequence = 2",
    "UPDATE audit_seals SET hash = sha256('x') WHERE sequence = 4",
    "INSERT INTO audit_log (actor, role, action, target, xid) VALUES ('a', 'b', 'c', 'd:1', '3')",
    (
        "INSERT INTO audit_log (actor, role, action, target, at)"
        " VALUES ('a', 'b', 'c', 'd:1', now() - interval '6 minutes')"
    ),
]


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_audit_log_is_found(
    checker: Checker, db: Connection, sealed: None, forgery: str
) -> None:
    checker.run()
    assert checker.verdicts["A1"]["status"] == "ok"
    db.execute(forgery.encode())
    checker.run()
    assert checker.with_status("BREACH") == {"A1"}


RIGHTS: list[tuple[str, str]] = [
    ("GRANT UPDATE ON events TO seathold_app", "may update events"),
    ("GRANT UPDATE (reason) ON audit_log TO seathold_app", "may update audit_log"),
    ("GRANT DELETE ON ledger_entries TO seathold_app", "may delete ledger_entries"),
    ("GRANT TRUNCATE ON audit_seals TO seathold_app", "may truncate audit_seals"),
    ("GRANT TRIGGER ON events TO seathold_app", "may trigger events"),
    ("GRANT INSERT ON events TO seathold_app", "may choose events.created_at"),
    ("GRANT CREATE ON SCHEMA public TO seathold_app", "may create in schema public"),
    ("ALTER TABLE events OWNER TO seathold_app", "may alter or drop events"),
    ("DROP TRIGGER record_is_append_only ON events", "no enabled trigger on events"),
    (
        "ALTER TABLE audit_log DISABLE TRIGGER record_is_append_only",
        "no enabled trigger on audit_log",
    ),
    (
        "ALTER TABLE audit_seals ENABLE REPLICA TRIGGER record_is_append_only",
        "no enabled trigger on audit_seals",
    ),
    ("DROP TRIGGER ledger_is_append_only ON ledger_entries", "trigger on ledger_entries"),
]


@pytest.mark.parametrize(("given", "said"), RIGHTS)
def test_a_right_too_many_is_found(checker: Checker, db: Connection, given: str, said: str) -> None:
    db.execute(given.encode())
    checker.run()
    assert "A2" in checker.with_status("BREACH")
    assert any(said in example for example in checker.verdicts["A2"]["examples"])


RESOLVED = (
    "INSERT INTO cases (id, kind, dedupe, summary, status, resolution, resolved_at)"
    " VALUES (gen_random_uuid(), 'x', 'x', 'x', 'resolved', 'x', now())"
)
CALLED_OFF = (
    "INSERT INTO show_cancellations (show_id, reason, actor, plan)"
    " SELECT id, 'x', 'x', '{}' FROM shows"
)


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (RESOLVED, "case "),
        (CALLED_OFF, "cancellation of show "),
    ],
)
def test_what_was_done_without_an_entry_is_found(
    checker: Checker, db: Connection, done: str, said: str
) -> None:
    db.execute(done.encode())
    checker.run()
    assert "Q3" in checker.with_status("BREACH")
    assert checker.verdicts["Q3"]["examples"][0].startswith(said)


@pytest.fixture
def superuser_role() -> Iterator[str]:
    """Of the whole server, so under a name of its own."""
    name = f"check_{uuid4().hex[:8]}"
    with psycopg.connect(os.environ[servers.DATABASE], autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} SUPERUSER".encode())
        yield name
        connection.execute(f"DROP ROLE {name}".encode())


def test_a_superuser_is_no_role_for_an_application(
    checker: Checker, superuser_role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "APP_ROLE", superuser_role)
    checker.run()
    assert checker.verdicts["A2"]["examples"] == [f"{superuser_role} is a superuser"]


def test_without_the_role_nothing_is_claimed_of_it(
    checker: Checker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "APP_ROLE", "nobody_at_all")
    checker.run()
    assert checker.verdicts["A2"]["status"] == "not run"
    assert checker.exit_code == 0
