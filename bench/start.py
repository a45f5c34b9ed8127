"""``make bench-start``: how soon a second start is ready, and what an idle stack holds."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from temporalio.client import Client

from bench import report
from seathold.stack.stack import Stack


def main() -> None:
    print("bench-start: a first and a second start …")
    with tempfile.TemporaryDirectory(prefix="seathold-bench-") as folder:
        Path(folder).chmod(0o711)
        began = time.perf_counter()
        with Stack(Path(folder), ports="auto"):
            first = time.perf_counter() - began
        began = time.perf_counter()
        with Stack(Path(folder), ports="auto") as stack:
            second = time.perf_counter() - began
            parts = {name: _resident(child.pid) for name, child in stack.children.items()}
            versions = asyncio.run(_servers(stack.info))
    resident = sum(parts.values()) / 1024**3
    ratios = {
        "second_start_seconds": report.ratio(second, 10, "lower"),
        "idle_resident_gib": report.ratio(resident, 1.5, "lower"),
    }
    figures = {
        "in_words": {
            "second_start_seconds": f"the first start took {first:.1f} s",
            "idle_resident_gib": f"{len(parts)} processes with their children after the second"
            " start, shared pages shared out (PSS)",
        },
        "first_start_seconds": round(first, 1),
        "resident_mib": {name: round(size / 1024**2) for name, size in parts.items()},
    }
    report.write("start", ratios, figures, versions)


async def _servers(info: Mapping[str, Any]) -> dict[str, str]:
    return await report.servers(info, await Client.connect(info["temporal_address"]))


def _resident(pid: int) -> int:
    """Bytes of a process and its children; shared pages are shared out (PSS)."""
    root = psutil.Process(pid)
    return sum(one.memory_full_info().pss for one in [root, *root.children(recursive=True)])
