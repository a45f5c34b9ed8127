"""The audit log: written with its command, sealed a moment later, and every forgery is named."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner, Result

from infra.postgres import audit
from infra.postgres.audit import PostgresAudit, PostgresAuditSeals
from infra.postgres.database import Database
from infra.postgres.engine import create_engine
from loops.audit_seal import AuditSealLoop
from seathold import audit as command
from seathold.cli import app
from tests.conftest import WORKER
from tests.factories import create_user
from tests.fixtures import servers
from tests.helpers.horizon import horizon_passed

NOWHERE = "redis://127.0.0.1:1/0"
NAIVE = text("SELECT id FROM audit_log WHERE id > :last ORDER BY id")
Connection = psycopg.Connection[tuple[object, ...]]


@dataclass
class Log:
    """A log of its own; ``by`` is a forger who owns the server."""

    url: str
    database: Database
    seals: PostgresAuditSeals
    engine: AsyncEngine
    by: Connection

    async def note(
        self, target: str, *, actor: str = "operator:test", reason: str | None = None
    ) -> None:
        async with self.database.transaction() as session:
            PostgresAudit(session).note("test.done", target=target, actor=actor, reason=reason)

    async def seal(self) -> int:
        """How many got a seal, of all that are committed."""
        await horizon_passed(self.database)
        return (await self.seals.seal())[0]

    def ids(self) -> dict[str, int]:
        rows = self.by.execute("SELECT target, id FROM audit_log").fetchall()
        return {str(target): int(str(id_)) for target, id_ in rows}

    def sealed(self) -> list[str]:
        """The targets in the order of the chain."""
        rows = self.by.execute(
            "SELECT target FROM audit_seals JOIN audit_log ON audit_log.id = audit_id"
            " ORDER BY sequence"
        ).fetchall()
        return [str(target) for (target,) in rows]


@pytest.fixture
async def log(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Log]:
    url = servers.make_database(os.environ[servers.DATABASE], f"seathold_audit_{WORKER}")
    monkeypatch.setenv("SEATHOLD_DATABASE_URL", servers.as_app(url))
    database = Database(servers.settings_for(servers.as_app(url), NOWHERE, db_pool_size=6))
    engine = create_engine(servers.settings_for(url, NOWHERE))
    unguarded = "-c session_replication_role=replica"
    with psycopg.connect(url, autocommit=True, options=unguarded) as by:
        yield Log(url, database, PostgresAuditSeals(database), engine, by)
    await database.close()
    await engine.dispose()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["audit", *arguments])


async def test_an_entry_says_which_role_acted(log: Log) -> None:
    staff = await create_user(log.engine)
    for actor in (str(staff), "operator:cli", "provider:stripe"):
        await log.note(f"by:{actor}", actor=actor)
    rows = log.by.execute("SELECT target, role FROM audit_log").fetchall()
    assert set(rows) == {
        (f"by:{staff}", "user"),
        ("by:operator:cli", "operator"),
        ("by:provider:stripe", "provider"),
    }


async def test_an_entry_is_undone_with_its_command(log: Log) -> None:
    with pytest.raises(LookupError):
        await refused(log)
    assert log.ids() == {}


async def refused(log: Log) -> None:
    async with log.database.transaction() as session:
        PostgresAudit(session).note("test.done", target="x:1", actor="operator:test")
        await session.flush()
        raise LookupError


async def test_entries_are_sealed_once_in_their_order(log: Log) -> None:
    for number in range(5):
        await log.note(f"x:{number}", reason=f"because {number}")
    await horizon_passed(log.database)
    assert await AuditSealLoop(log.seals).one_pass() == 5
    assert await AuditSealLoop(log.seals).one_pass() == 0
    await log.note("x:5")
    await horizon_passed(log.database)
    assert await log.seals.seal() == (1, 6, last_link(log))
    assert log.sealed() == [f"x:{number}" for number in range(6)]
    assert run("--verify").exit_code == 0


def last_link(log: Log) -> bytes:
    [(link,)] = log.by.execute(
        "SELECT hash FROM audit_seals ORDER BY sequence DESC LIMIT 1"
    ).fetchall()
    assert isinstance(link, bytes)
    return link


async def test_an_entry_that_is_committed_late_is_not_passed_over(log: Log) -> None:
    """Its id is lower than one that is there already: who reads on from the last id loses it."""
    async with log.database.transaction() as slow:
        PostgresAudit(slow).note("test.done", target="x:slow", actor="operator:test")
        await slow.flush()
        await log.note("x:quick")
        assert (await log.seals.seal())[0] == 0
        async with log.database.statements() as session:
            seen = [row.id for row in await session.all(NAIVE, last=0)]
    assert await log.seal() == 2
    assert log.sealed() == ["x:slow", "x:quick"]
    async with log.database.statements() as session:
        naive = [*seen, *(row.id for row in await session.all(NAIVE, last=seen[-1]))]
    assert log.ids()["x:slow"] not in naive


async def test_of_many_who_seal_at_once_each_entry_has_one_seal(log: Log) -> None:
    for number in range(20):
        await log.note(f"x:{number}")
        await asyncio.gather(*(log.seals.seal() for _ in range(4)))
    await log.seal()
    assert log.sealed() == [f"x:{number}" for number in range(20)]
    assert run("--verify").exit_code == 0


FORGERIES = [
    ("UPDATE audit_log SET reason = 'another' WHERE id = %(id)s", "is not what was sealed"),
    ("UPDATE audit_log SET actor = 'somebody' WHERE id = %(id)s", "is not what was sealed"),
    ("UPDATE audit_log SET role = 'owner' WHERE id = %(id)s", "is not what was sealed"),
    ("UPDATE audit_log SET action = 'other' WHERE id = %(id)s", "is not what was sealed"),
    ("UPDATE audit_log SET at = at - interval '1 s' WHERE id = %(id)s", "is not what was sealed"),
    ("UPDATE audit_log SET details = '{}' WHERE id = %(id)s", "is not what was sealed"),
    ("UPDATE audit_log SET request_id = 'r' WHERE id = %(id)s", "is not what was sealed"),
    ("DELETE FROM audit_log WHERE id = %(id)s", "the entry is gone"),
    ("DELETE FROM audit_seals WHERE audit_id = %(id)s", "is missing before it"),
    ("UPDATE audit_seals SET hash = sha256('x') WHERE audit_id = %(id)s", "is not what was sealed"),
    (
        "INSERT INTO audit_log (actor, role, action, target, xid) SELECT 'a', 'b', 'c', 'd:1', '3'",
        "was put among entries that are sealed",
    ),
]


@pytest.mark.parametrize(("forgery", "told"), FORGERIES)
async def test_what_was_forged_is_named(log: Log, forgery: str, told: str) -> None:
    for number in range(4):
        await log.note(f"x:{number}", reason="because")
    await log.seal()
    assert run("--verify").exit_code == 0
    log.by.execute(forgery.encode(), {"id": log.ids()["x:1"]})
    verified = run("--verify")
    assert verified.exit_code == 1
    assert told in verified.stdout


async def test_a_chain_cut_off_at_its_end_tells_another_end(log: Log) -> None:
    """No chain can show this by itself: the worker's log, kept elsewhere, has the end."""
    for number in range(3):
        await log.note(f"x:{number}")
    await log.seal()
    link = last_link(log).hex()
    assert f"sealed up to no. 3, {link}; 0 to be sealed" in run("--verify").stdout
    log.by.execute("DELETE FROM audit_seals WHERE sequence = 3")
    log.by.execute("DELETE FROM audit_log WHERE target = 'x:2'")
    cut = run("--verify")
    assert cut.exit_code == 0
    assert link not in cut.stdout


async def test_a_long_log_is_sealed_and_verified_in_batches(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        audit, "UNSEALED", text(audit.UNSEALED.text.replace("LIMIT 500", "LIMIT 2"))
    )
    monkeypatch.setattr(command, "BATCH", 2)
    async with log.database.transaction() as session:
        for number in range(5):
            PostgresAudit(session).note("test.done", target=f"x:{number}", actor="operator:test")
    assert [await log.seal() for _ in range(4)] == [2, 2, 1, 0]
    assert run("--verify").exit_code == 0
    log.by.execute("UPDATE audit_log SET reason = 'x' WHERE id = %s", (log.ids()["x:3"],))
    assert run("--verify").exit_code == 1


async def test_the_newest_entries_are_told_oldest_first(log: Log) -> None:
    for number in range(3):
        await log.note(f"x:{number}", reason="because", actor=f"operator:{number % 2}")
    told = [json.loads(line) for line in run("--json", "-n", "2").stdout.splitlines()]
    assert [(one["target"], one["reason"], one["role"]) for one in told] == [
        ("x:1", "because", "operator"),
        ("x:2", "because", "operator"),
    ]
    words = run("--actor", "operator:0").stdout.splitlines()
    assert len(words) == 2
    assert "test.done x:0 by operator:0 (operator): because" in words[0]
    assert run("--target", "x:9").stdout == ""
    assert run("--since", "2999-01-01").stdout == ""
