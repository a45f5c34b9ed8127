"""Run the suite on Debian's PostgreSQL 15 and Redis 7: ``python -m tests.debian [pytest options]``.

Packages are installed where that may be done; where not, one sentence says what is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from seathold.stack import ports, postgres, valkey
from seathold.stack.process import Child, StackError
from tests.fixtures.servers import DATABASE, PASSWORD, REDIS, STACKS

POSTGRES = Path("/usr/lib/postgresql/15")
REDIS_SERVER = Path("/usr/bin/redis-server")
PACKAGES = {"postgresql-15": POSTGRES / "bin" / "postgres", "redis-server": REDIS_SERVER}
# They bring embedded servers of their own, on which `make test` has run them.
LEFT_OUT = ("tests/stack", "tests/cells", "tests/fuzz")


def main(options: list[str]) -> int:
    """Start both servers and run pytest on them; its exit code."""
    try:
        install_missing()
        with ExitStack() as stack:
            start_servers(stack)
            sys.stdout.write(f"Left out, as they start embedded servers: {', '.join(LEFT_OUT)}.\n")
            sys.stdout.flush()
            return int(pytest.main([*options, *(f"--ignore={folder}" for folder in LEFT_OUT)]))
    except StackError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1


def install_missing() -> None:
    """Install the packages that are not there.

    Raises:
        StackError: this machine does not let us.
    """
    missing = [package for package, file in PACKAGES.items() if not file.exists()]
    if not missing:
        return
    fix = f"install {' and '.join(missing)} from Debian 12 (as root: apt-get install)."
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise StackError(f"The suite on PostgreSQL 15 cannot run here: {fix}")
    # In run level 1 the packages' scripts start no service.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=False)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    if subprocess.run(command, env=quiet, check=False).returncode != 0:
        raise StackError(f"apt-get could not bring what PostgreSQL 15's run needs: {fix}")


def start_servers(stack: ExitStack) -> None:
    """Start both on free ports and name them to the tests; ``stack`` ends them."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="seathold-d-")))
    taken: set[int] = set()
    held = [stack.enter_context(ports.reserve(0, "auto", taken)) for _ in range(2)]
    database_port, redis_port = map(ports.port_of, held)
    database = postgres.launch(
        folder / "postgres",
        port=database_port,
        password=PASSWORD,
        log=folder / "postgres.log",
        durable=False,
        binaries=POSTGRES,
    )
    _until_ready(stack, database)
    redis = valkey.launch(
        folder / "redis",
        port=redis_port,
        log=folder / "redis.log",
        databases=64,
        binary=REDIS_SERVER,
    )
    _until_ready(stack, redis)
    os.environ[DATABASE] = postgres.database_url(database_port, PASSWORD)
    os.environ[REDIS] = valkey.url(redis_port)
    os.environ[STACKS] = "1"


def _until_ready(stack: ExitStack, child: Child) -> None:
    stack.callback(child.stop)
    child.wait_ready(seconds=60)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
