"""``seathold dev``: the stack in the foreground, until Ctrl-C."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

from seathold.stack.ports import Policy
from seathold.stack.process import StackError
from seathold.stack.stack import Stack

TEND_SECONDS = 0.25


def main(run_dir: Path, ports: Policy, *, seed: bool) -> int:
    """Run until SIGINT or SIGTERM; data stays, processes do not."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with Stack(run_dir, ports=ports, seed=seed, say=_say) as stack:
            _say(_welcome(stack.info, run_dir))
            while not stop.wait(TEND_SECONDS):
                stack.tend()
            _say("Stopping everything; the data stays.")
    except StackError as error:
        _say(f"Error: {error}")
        return 1
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


def _welcome(info: dict[str, Any], run_dir: Path) -> str:
    rows = {
        "API": info["api_url"],
        "API docs": info["api_url"] + "/docs",
        "Temporal UI": info["temporal_ui_url"],
        "Pay sandbox": info["sandbox_url"],
        "Mail and SMS": info["mail_url"],
        "PostgreSQL": info["database_url"],
        "Redis": info["redis_url"],
        "Admin": f"{info['admin']['email']}  {info['admin']['password']}",
        "Logs": str(run_dir / "logs"),
    }
    lines = [f"  {name:<13} {value}" for name, value in rows.items()]
    return "\nSeathold is up.\n" + "\n".join(lines) + "\n\nCtrl-C stops it.\n"
