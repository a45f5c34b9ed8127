"""The schema: up, down, up again; what the code believes of it is what PostgreSQL has."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest

from infra.postgres import migrate
from infra.settings import Settings
from tests.fixtures import servers

TABLES = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"


@pytest.fixture
def scratch(settings: Settings) -> Iterator[Settings]:
    """A database of its own, migrated."""
    admin = os.environ[servers.DATABASE]
    name = f"migrations_{os.environ.get('PYTEST_XDIST_WORKER', 'master')}"
    url = servers.make_database(admin, name)
    yield servers.settings_for(url, "redis://127.0.0.1:1/0")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def count_tables(settings: Settings) -> int:
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        row = connection.execute(TABLES).fetchone()
    assert row is not None
    return int(row[0])


def test_down_to_nothing_and_up_again(scratch: Settings) -> None:
    before = count_tables(scratch)
    migrate.downgrade(scratch, "base")
    assert count_tables(scratch) == 1, "only Alembic's own table is left"
    migrate.upgrade(scratch)
    assert count_tables(scratch) == before


def test_the_tables_in_the_code_are_those_in_the_database(scratch: Settings) -> None:
    migrate.check(scratch)


def test_a_column_that_the_code_does_not_know_is_noticed(scratch: Settings) -> None:
    with psycopg.connect(scratch.database_url.get_secret_value()) as connection:
        connection.execute("ALTER TABLE bookings ADD COLUMN surprise text")
    with pytest.raises(Exception, match="New upgrade operations detected"):
        migrate.check(scratch)
