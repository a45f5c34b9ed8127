"""Wiring only: the servers, and what every test may ask for."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from infra.memory import settle_memory
from infra.postgres.database import Database
from infra.postgres.engine import create_engine
from infra.redis.client import create_redis
from infra.settings import Settings
from infra.temporal import connect
from seathold.stack.process import StackError
from tests.fixtures import servers

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "master")
# These need no server, or bring their own.
WITHOUT_SERVERS = ("unit", "ports", "sandbox", "stack", "kill", "cells", "fuzz")
_servers = servers.Servers()


# What the shell is set up for must not leak into the tests.
for name in [name for name in os.environ if name.startswith("SEATHOLD_")]:
    if not name.startswith(("SEATHOLD_TEST_", "SEATHOLD_TEMPORAL_CLI")):
        del os.environ[name]

# A machine may reach its package index by a proxy, and nothing that the tests ask is behind it.
for name in ("no_proxy", "NO_PROXY"):
    os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost")))

# A traceback in colours, with the locals of each frame, holds up the loop that the servers' answers
# wait for by up to a second.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
)


def pytest_sessionstart(session: pytest.Session) -> None:
    """The controlling process starts the servers before its workers ask for them."""
    if WORKER != "master" or session.config.option.collectonly or not _need_servers(session):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    try:
        # The first start on a machine may have to fetch a server: let its progress be seen.
        with capture.global_and_fixture_disabled():
            _servers.start()
    except StackError as error:
        pytest.exit(f"Error: {error}", returncode=1)


def pytest_collection_finish() -> None:
    """As our processes do once they have started: looking for cycles was a fifth of the CPU."""
    settle_memory()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    _servers.stop()


def _need_servers(session: pytest.Session) -> bool:
    """Whether a path was asked for whose tests share the servers, or whose stacks do."""
    if servers.STACKS in os.environ:
        return True
    config, here = session.config, Path(__file__).parent
    asked = [config.invocation_params.dir / arg.partition("::")[0] for arg in config.args]
    alone = [here / folder for folder in WITHOUT_SERVERS]
    return not all(any(path.is_relative_to(folder) for folder in alone) for path in asked)


@pytest.fixture(scope="session")
def superuser_url() -> str:
    """This worker's own database, for whoever sets the scene."""
    return servers.make_database(os.environ[servers.DATABASE], f"seathold_{WORKER}")


@pytest.fixture(scope="session")
def settings(superuser_url: str) -> Settings:
    """Settings of this worker: its own database, as the application's role, and the like."""
    number = servers.worker_names().index(WORKER) + 1
    redis_url = os.environ[servers.REDIS].rsplit("/", 1)[0] + f"/{number}"
    os.environ["TEMPORAL_ADDRESS"] = os.environ[servers.TEMPORAL]
    os.environ["TEMPORAL_NAMESPACE"] = WORKER
    return servers.settings_for(servers.as_app(superuser_url), redis_url)


@pytest.fixture(scope="session")
async def engine(superuser_url: str, settings: Settings) -> AsyncIterator[AsyncEngine]:
    """The superuser's: for rows to start from and for a look at what came of them."""
    redis_url = settings.redis_url.get_secret_value()
    engine = create_engine(servers.settings_for(superuser_url, redis_url))
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session")
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings)
    yield database
    await database.close()


@pytest.fixture(scope="session")
async def redis(settings: Settings) -> AsyncIterator[Redis]:
    # These tests ask what Redis decides, not how soon.
    redis = create_redis(settings, patience=100)
    await redis.flushdb()
    yield redis
    await redis.aclose()


@pytest.fixture(scope="session")
async def temporal(settings: Settings) -> Client:
    return await connect(settings)
