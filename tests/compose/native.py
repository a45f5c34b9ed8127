"""A service of docker-compose.yml without its container: same command, same environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seathold.stack.process import Child
from tests.compose.stack_file import ROOT, Service

PROGRAMS = {"python": [sys.executable]}


class Native:
    """Runs services with every address of the compose network replaced by one of this machine.

    ``instead`` maps what stands in the file to what is here. Nothing is replaced twice: a port of
    ours may look like one of the file's.
    """

    def __init__(self, services: dict[str, Service], instead: Mapping[str, str], logs: Path):
        self._services = services
        self._instead = instead
        longest_first = sorted(instead, key=len, reverse=True)
        self._there = re.compile("|".join(re.escape(there) for there in longest_first))
        self._logs = logs

    def environment(self, name: str) -> dict[str, str]:
        """What the container would be told, and nothing of ours but where programs are."""
        told = self._services[name].get("environment", {})
        own = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        return own | {key: self.here(value) for key, value in told.items()}

    def here(self, value: Any) -> str:
        """The value on this machine; the bare name of a service is a host."""
        if value in self._services:
            return "127.0.0.1"
        return self._there.sub(lambda found: self._instead[found[0]], str(value))

    def start(self, name: str) -> Child:
        """Start a service of ours; it must be stopped."""
        program, *options = self._services[name]["command"]
        return Child(
            name,
            [sys.executable, "-m", "seathold", program, *map(self.here, options)],
            log=self._logs / f"{name}.log",
            ready=lambda: self.is_healthy(name),
            env=self.environment(name),
        )

    def is_healthy(self, name: str) -> bool:
        """What the service's own health check says, run as Docker would run it."""
        check: Sequence[str] = self._services[name]["healthcheck"]["test"]
        kind, program, *arguments = check
        assert kind == "CMD"
        done = subprocess.run(
            [*PROGRAMS[program], *map(self.here, arguments)],
            check=False,
            cwd=ROOT,
            env=self.environment(name),
            capture_output=True,
            timeout=30,
        )
        return done.returncode == 0
