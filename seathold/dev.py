"""``seathold dev``: the stack in the foreground, until Ctrl-C."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from seathold.stack.foreground import in_foreground
from seathold.stack.ports import Policy
from seathold.stack.stack import Stack

TEND_SECONDS = 0.25


def main(run_dir: Path, ports: Policy, *, seed: bool) -> int:
    """Run until a signal comes; the data stays, the processes do not."""

    def work() -> int:
        with Stack(run_dir, ports=ports, seed=seed, say=_say) as stack:
            _say(_welcome(stack.info, run_dir))
            try:
                while True:
                    stack.tend()
                    time.sleep(TEND_SECONDS)
            except KeyboardInterrupt:
                _say("Stopping everything; the data stays.")
        return 0

    return in_foreground(work)


def _say(text: str) -> None:
    print(text, flush=True)


def _welcome(info: dict[str, Any], run_dir: Path) -> str:
    rows = {
        "API": info["api_url"],
        "API docs": info["api_url"] + "/docs",
        "Temporal UI": info["temporal_ui_url"],
        "Unseal there": info["codec_url"],
        "Pay sandbox": info["sandbox_url"],
        "Mail and SMS": info["mail_url"],
        "PostgreSQL": info["database_url"],
        "Redis": info["redis_url"],
        "Admin": f"{info['admin']['email']}  {info['admin']['password']}",
        "Logs": str(run_dir / "logs"),
    }
    lines = [f"  {name:<13} {value}" for name, value in rows.items()]
    return "\nSeathold is up.\n" + "\n".join(lines) + "\n\nCtrl-C stops it.\n"
