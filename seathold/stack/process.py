"""A direct foreground child that ends with us: the kernel ends it when we are killed."""

from __future__ import annotations

import os
import signal
import subprocess  # nosec B404
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LEASH = Path(__file__).with_name("leash.py")
LAST_LINES = 8


class StackError(Exception):
    """A part of the stack cannot run; the message is one sentence that names the fix."""


@dataclass(frozen=True)
class Account:
    """An unprivileged account for a server that refuses to run as root."""

    uid: int
    gid: int


class Child:
    """One process with its log file; ``ready`` says whether it does its work yet.

    ``stop_signal`` ends it in order; ``death_signal`` is what the kernel sends it when the thread
    that started it is gone. The command names its program by a full path.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        ready: Callable[[], bool] = lambda: True,
        env: Mapping[str, str] | None = None,
        account: Account | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        death_signal: signal.Signals | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log = log
        self._ready = ready
        self._stop_signal = stop_signal
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # nosec B603
                [*_leash(death_signal or stop_signal, account), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env) if env is not None else None,
                pass_fds=tuple(pass_fds),
                # A terminal's Ctrl-C goes to the whole group; we stop our children ourselves.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_ready(self, *, seconds: float) -> None:
        """Poll until it is ready.

        Raises:
            StackError: it ended, or was not ready in time; the log's last lines are in the text.
        """
        deadline = time.monotonic() + seconds
        while not self._ready():
            if not self.is_running:
                raise StackError(f"{self.name} ended at once. {self.last_words()}")
            if time.monotonic() > deadline:
                raise StackError(
                    f"{self.name} was not ready in {seconds:.0f} s. {self.last_words()}"
                )
            time.sleep(0.02)

    def wait(self, *, seconds: float) -> int:
        """Its exit code, once it has ended; a child that takes longer is stopped."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            return -1

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return f"The end of {self.log}:\n  " + "\n  ".join(lines)

    def ask_to_end(self) -> None:
        if self.is_running:
            self._process.send_signal(self._stop_signal)

    def stop(self, *, seconds: float = 30) -> None:
        """Ask it to end, then make it."""
        self.ask_to_end()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """``kill -9``, and wait until it is gone."""
        self._process.kill()
        self._process.wait()


def stop_all(children: Sequence[Child], *, seconds: float = 30) -> None:
    """Ask all of them at once, then make those that take longer."""
    for child in children:
        child.ask_to_end()
    deadline = time.monotonic() + seconds
    for child in children:
        child.stop(seconds=max(0.0, deadline - time.monotonic()))


def _leash(number: signal.Signals, account: Account | None) -> list[str]:
    who = [str(account.uid), str(account.gid)] if account else ["-", "-"]
    return [sys.executable, "-IS", str(LEASH), str(int(number)), str(os.getpid()), *who]
