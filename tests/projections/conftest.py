"""A database of its own, so that only the events of these tests are projected."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.postgres.database import Database
from infra.postgres.engine import create_engine
from infra.settings import Settings
from tests.fixtures import servers


@pytest.fixture
def url() -> Iterator[str]:
    """A fresh, migrated database, as the superuser's."""
    admin, name = os.environ[servers.DATABASE], f"projected_{uuid4().hex[:12]}"
    yield servers.make_database(admin, name)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture
def own_settings(url: str) -> Settings:
    return servers.settings_for(servers.as_app(url), "redis://127.0.0.1:1/0")


@pytest.fixture
async def own_database(own_settings: Settings) -> AsyncIterator[Database]:
    database = Database(own_settings)
    yield database
    await database.close()


@pytest.fixture
async def own_engine(own_settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(own_settings)
    yield engine
    await engine.dispose()
