"""A command that holds a stack: it ends in order on every signal, and with whoever runs it."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import typer

from seathold.stack.process import StackError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# They pass signals on while they live; killed outright they cannot.
RUNNERS = ("make", "gmake", "uv")
LOOK_SECONDS = 0.5
INTERRUPTED = 130


def in_foreground(work: Callable[[], int]) -> int:
    """Run ``work``, in which a signal raises ``KeyboardInterrupt`` once; the exit code.

    A ``StackError`` is told on stderr as its one sentence, as is what the disk or the system
    refuses.
    """
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)
    runners = _runners(os.getpid())
    if runners:
        threading.Thread(target=_end_with, args=(runners,), daemon=True).start()
    try:
        return work()
    except KeyboardInterrupt:
        return INTERRUPTED
    except StackError as error:
        typer.echo(f"Error: {error}", err=True)
        return 1
    except OSError as error:
        if error.errno == errno.EPIPE:  # nobody is there to be told
            raise
        typer.echo(f"Error: {error}.", err=True)
        return 1


def _interrupt(number: int, frame: FrameType | None) -> None:
    for one in SIGNALS:  # the end is under way; impatience must not cut it short
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


def _runners(pid: int) -> dict[int, int]:
    """The line of runners above us, as child → parent; empty where there is no ``/proc``."""
    found: dict[int, int] = {}
    while (parent := _parent(pid)) and _name(parent) in RUNNERS:
        found[pid] = parent
        pid = parent
    return found


def _end_with(runners: dict[int, int]) -> None:
    while all(_parent(child) == parent for child, parent in runners.items()):
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _parent(pid: int) -> int | None:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(status.rpartition(")")[2].split()[1])


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
