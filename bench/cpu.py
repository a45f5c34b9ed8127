"""CPU time of processes with their children, and latencies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from statistics import quantiles

import psutil

# What five servers burn in a second with nothing to do is below this.
QUIET_SECONDS = 0.1
SETTLE_AT_MOST = 20


def seconds(pids: Sequence[int]) -> float:
    """User and system seconds of the processes, their living children and their ended ones."""
    total = 0.0
    for pid in pids:
        root = psutil.Process(pid)
        times = root.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
        for child in root.children(recursive=True):
            try:
                times = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
    return total


class Meter:
    """Reads parts before and after; what they burn when idle is taken off."""

    def __init__(self, parts: Mapping[str, Sequence[int]]) -> None:
        self._parts = parts
        self._before = self._read()
        self._began = time.perf_counter()
        self.idle = dict.fromkeys(parts, 0.0)

    async def rest(self, duration: float) -> None:
        """Learn what the parts burn in a second with nothing to do."""
        self.start()
        await asyncio.sleep(duration)
        after = self._read()
        self.idle = {name: (after[name] - self._before[name]) / duration for name in after}

    def start(self) -> None:
        self._before, self._began = self._read(), time.perf_counter()

    async def settle(self) -> None:
        """Wait until late work, such as mails, is done: it belongs to what was asked for."""
        for _ in range(SETTLE_AT_MOST):
            before = sum(self._read().values())
            await asyncio.sleep(1)
            if sum(self._read().values()) - before < QUIET_SECONDS:
                return

    def spent(self, units: int) -> dict[str, float]:
        """CPU milliseconds per unit of each part since ``start``."""
        after, elapsed = self._read(), time.perf_counter() - self._began
        return {
            name: round((after[name] - early - self.idle[name] * elapsed) * 1000 / units, 3)
            for name, early in self._before.items()
        }

    def _read(self) -> dict[str, float]:
        return {name: seconds(pids) for name, pids in self._parts.items()}


def latency(samples: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile in milliseconds."""
    cuts = quantiles(samples, n=100, method="inclusive")
    return {"p50_ms": round(cuts[49] * 1000, 2), "p99_ms": round(cuts[98] * 1000, 2)}
