"""Databases of their own: the catalogue is written whole and counted."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.postgres.engine import create_engine
from infra.settings import Settings
from tests.fixtures import servers


@pytest.fixture
def empty(worker_id: str) -> Settings:
    return _database(f"seathold_import_{worker_id}")


@pytest.fixture
async def empty_engine(empty: Settings) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(empty)
    yield engine
    await engine.dispose()


@pytest.fixture(scope="module")
def demo(worker_id: str) -> Settings:
    """One for all tests of a module."""
    return _database(f"seathold_demo_{worker_id}")


def _database(name: str) -> Settings:
    url = servers.make_database(os.environ[servers.DATABASE], name)
    return servers.settings_for(servers.as_app(url), os.environ[servers.REDIS])
