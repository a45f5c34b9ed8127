"""The schema: up, down, up again; what the code believes of it is what PostgreSQL has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest
from sqlalchemy import text

from infra.postgres import migrate
from infra.postgres.database import Database
from infra.postgres.engine import create_engine
from infra.postgres.guards import require_guards
from infra.settings import Settings
from tests.fixtures import servers

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
WHOLE = """
SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable
       || coalesce(' ' || column_default, '')
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
          FROM pg_constraint WHERE connamespace = 'public'::regnamespace
"""


@pytest.fixture
def scratch(settings: Settings) -> Iterator[Settings]:
    """A database of its own, migrated."""
    admin = os.environ[servers.DATABASE]
    name = f"migrations_{os.environ.get('PYTEST_XDIST_WORKER', 'master')}"
    url = servers.make_database(admin, name)
    yield servers.settings_for(servers.as_owner(url), "redis://127.0.0.1:1/0")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def names(settings: Settings, query: LiteralString) -> set[str]:
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        return {name for (name,) in connection.execute(query)}


def test_down_to_nothing_and_up_again(scratch: Settings) -> None:
    before = names(scratch, WHOLE)
    migrate.downgrade(scratch, "base")
    assert names(scratch, TABLES) == {"alembic_version"}
    migrate.upgrade(scratch)
    assert names(scratch, WHOLE) == before
    assert any("seat_claims_show_label_key" in line for line in before)


async def test_the_guard_against_double_sales_is_there_and_its_loss_is_noticed(
    scratch: Settings,
) -> None:
    engine, database = create_engine(scratch), Database(scratch)
    await require_guards(database)
    async with engine.begin() as connection:
        await connection.execute(text("DROP INDEX seat_claims_show_label_key"))
    with pytest.raises(RuntimeError, match="seat_claims_show_label_key"):
        await require_guards(database)
    await database.close()
    await engine.dispose()


def test_the_tables_in_the_code_are_those_in_the_database(scratch: Settings) -> None:
    migrate.check(scratch)


def test_a_column_that_the_code_does_not_know_is_noticed(scratch: Settings) -> None:
    with psycopg.connect(scratch.database_url.get_secret_value()) as connection:
        connection.execute("ALTER TABLE bookings ADD COLUMN surprise text")
    with pytest.raises(Exception, match="New upgrade operations detected"):
        migrate.check(scratch)


def test_a_database_of_an_earlier_draft_is_refused_in_one_sentence(scratch: Settings) -> None:
    migrate.upgrade(scratch)
    with psycopg.connect(scratch.database_url.get_secret_value()) as connection:
        connection.execute("COMMENT ON TABLE alembic_version IS 'an earlier one'")
        connection.execute("ALTER TABLE bookings DROP COLUMN confirming_payment_id")
    with pytest.raises(migrate.EarlierDraft) as refused:
        migrate.upgrade(scratch)
    assert "remove .run" in str(refused.value)
    assert "\n" not in str(refused.value)
    told = migrating(scratch)
    assert (told.returncode, told.stderr) == (1, f"Error: {refused.value}\n")


def test_what_was_taken_down_may_come_up_by_another_draft(scratch: Settings) -> None:
    with psycopg.connect(scratch.database_url.get_secret_value()) as connection:
        connection.execute("COMMENT ON TABLE alembic_version IS 'an earlier one'")
    migrate.downgrade(scratch, "base")
    done = migrating(scratch)
    assert (done.returncode, done.stdout) == (0, "The schema is up, at head.\n")
    migrate.upgrade(scratch)


def migrating(settings: Settings) -> subprocess.CompletedProcess[str]:
    """``seathold migrate`` as a person runs it."""
    url = settings.database_url.get_secret_value()
    return subprocess.run(
        [sys.executable, "-m", "seathold", "migrate"],
        env={**os.environ, "SEATHOLD_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
