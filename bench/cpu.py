"""CPU time of processes with their children, and latencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import quantiles

import psutil


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
    """Reads parts before and after; ``idle`` seconds per second are taken off."""

    def __init__(self, parts: Mapping[str, Sequence[int]]) -> None:
        self._parts = parts

    def read(self) -> dict[str, float]:
        return {name: seconds(pids) for name, pids in self._parts.items()}

    def spent(
        self,
        before: Mapping[str, float],
        after: Mapping[str, float],
        *,
        elapsed: float,
        idle: Mapping[str, float],
        units: int,
    ) -> dict[str, float]:
        """CPU milliseconds per unit of each part."""
        return {
            name: round(
                max(0.0, after[name] - before[name] - idle.get(name, 0.0) * elapsed) * 1000 / units,
                2,
            )
            for name in self._parts
        }


def latency(samples: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile in milliseconds."""
    if len(samples) < 2:
        return {"p50_ms": round(samples[0] * 1000, 1), "p99_ms": round(samples[0] * 1000, 1)}
    cuts = quantiles(samples, n=100, method="inclusive")
    return {"p50_ms": round(cuts[49] * 1000, 1), "p99_ms": round(cuts[98] * 1000, 1)}
