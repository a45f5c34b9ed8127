"""Runs ``seathold dev`` as a person does, and knows every process that came of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import psutil

from seathold.stack import temporal

ROOT = Path(__file__).resolve().parents[2]
# Of the tests' own servers and of this shell nothing may reach a stack.
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("SEATHOLD_", "TEMPORAL_", "PYTEST_", "MAKE", "MFLAGS"))
    or name == "SEATHOLD_TEMPORAL_CLI"
}


@dataclass
class Dev:
    """A running ``seathold dev``."""

    process: subprocess.Popen[str]
    run_dir: Path
    seen: list[psutil.Process] = field(default_factory=list)

    @property
    def info(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run_dir / "dev.json").read_text())
        return found

    def remember_everyone(self) -> list[psutil.Process]:
        """Every process below the starter now, PostgreSQL's own children too."""
        self.seen = psutil.Process(self.process.pid).children(recursive=True)
        return self.seen

    def send(self, number: signal.Signals) -> int:
        """Send a signal to the starter alone; its exit code."""
        self.remember_everyone()
        self.process.send_signal(number)
        return self.process.wait(45)

    def left(self) -> list[psutil.Process]:
        """Who of those remembered still runs."""
        return [one for one in self.seen if one.is_running() and not is_zombie(one)]

    def ports(self) -> set[int | None]:
        return {urlsplit(url).port for name, url in self.info.items() if name.endswith("_url")}

    def lose_temporal_data(self) -> None:
        """Its server must be dead."""
        for file in (self.run_dir / "temporal").glob("temporal.sqlite*"):
            file.unlink()

    def check(self, settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """``seathold check`` of this stack, told its settings."""
        return subprocess.run(
            [sys.executable, "-m", "seathold", "check", "--run-dir", str(self.run_dir)],
            cwd=ROOT,
            env={**CLEAN, **settings},
            capture_output=True,
            text=True,
            check=False,
        )

    def answers(self, path: str = "/healthz") -> bool:
        try:
            with urllib.request.urlopen(self.info["api_url"] + path, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def running(
    run_dir: Path,
    *options: str,
    env: Mapping[str, str] = MappingProxyType({}),
    run_by: Sequence[str] = (),
) -> Iterator[Dev]:
    """``seathold dev`` under ``run_dir``, ready when yielded; whatever a test left is ended.

    ``run_by`` stands before the command and has to become it.
    """
    # The first on a machine builds the server, which takes longer than any start may.
    temporal.find(lambda _: None)
    log = run_dir.with_suffix(".out")
    command = [sys.executable, "-m", "seathold", "dev", "--run-dir", str(run_dir), *options]
    command = [*run_by, *command]
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**CLEAN, **env},
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    dev = Dev(process, run_dir)
    try:
        wait_for(lambda: "is up" in log.read_text() or process.poll() is not None, 90)
        assert process.poll() is None, log.read_text()
        yield dev
    finally:
        if process.poll() is None:
            dev.send(signal.SIGTERM)


def wait_for(holds: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.05)


def is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
