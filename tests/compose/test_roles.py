"""The scripts that the database container runs once, by a real psql on an empty server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from infra.postgres import migrate
from seathold.stack import ports, postgres
from tests.compose.stack_file import ROOT, services
from tests.debian import POSTGRES
from tests.fixtures.servers import settings_for

# Debian's PostgreSQL brings it; the servers that `make test` starts come without.
PSQL = shutil.which("psql")
SCRIPTS = ("seathold-roles.sh", "temporal-role.sh")
GIVEN = {
    "POSTGRES_PASSWORD": "s3cret",
    "POSTGRES_OWNER_PASSWORD": "0wner's",
    "POSTGRES_APP_PASSWORD": "4pp's",
    "TEMPORAL_DB_PASSWORD": "0ther's",
}
pytestmark = pytest.mark.skipif(PSQL is None, reason="no psql on this machine")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server as the image makes it, after its scripts; PostgreSQL 15 where that is."""
    folder = tmp_path_factory.mktemp("roles")
    with ports.reserve(0, "auto", set()) as held:
        server = postgres.launch(
            folder / "postgres",
            port=ports.port_of(held),
            password=GIVEN["POSTGRES_PASSWORD"],
            log=folder / "postgres.log",
            durable=False,
            binaries=POSTGRES if (POSTGRES / "bin" / "postgres").exists() else None,
        )
        try:
            server.wait_ready(seconds=60)
            run_scripts(ports.port_of(held))
            yield ports.port_of(held)
        finally:
            server.stop()


def run_scripts(port: int) -> None:
    assert PSQL is not None
    told = services(GIVEN)["postgres"]
    mounted = [volume.partition(":")[0] for volume in told["volumes"] if "initdb.d" in volume]
    assert sorted(mounted) == [f"./docker/postgres/{name}" for name in SCRIPTS]
    environment = {
        "PATH": os.environ["PATH"],
        "PGHOST": ports.LOOPBACK,
        "PGPORT": str(port),
        "PGPASSWORD": GIVEN["POSTGRES_PASSWORD"],
        **told["environment"],
    }
    for name in SCRIPTS:
        script = ROOT / "docker" / "postgres" / name
        done = subprocess.run(
            ["sh", str(script)],
            check=False,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr


def url(port: int, user: str, password: str, database: str = "seathold") -> str:
    return postgres.database_url(port, GIVEN[password], database, user=user)


def test_the_owner_migrates_and_the_application_only_adds_to_the_past(
    port: int, tmp_path: Path
) -> None:
    owner = url(port, "seathold_owner", "POSTGRES_OWNER_PASSWORD")
    assert migrate.upgrade(settings_for(owner, "redis://127.0.0.1:1/0")), "one role is both"
    app = url(port, "seathold_app", "POSTGRES_APP_PASSWORD")
    with psycopg.connect(app, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM events")


def test_temporal_makes_its_databases_and_cannot_read_ours(port: int) -> None:
    elsewhere = url(port, "temporal", "TEMPORAL_DB_PASSWORD", "postgres")
    with psycopg.connect(elsewhere, autocommit=True) as connection:
        connection.execute("CREATE DATABASE temporal")
    with psycopg.connect(url(port, "temporal", "TEMPORAL_DB_PASSWORD", "temporal")) as connection:
        connection.execute("CREATE TABLE its_own ()")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(url(port, "temporal", "TEMPORAL_DB_PASSWORD"))
