"""One stack on one machine: every server and process of Seathold, under one folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from seathold.stack import ports, secrets
from seathold.stack.lock import exclusive
from seathold.stack.plan import REPLACED_BY, STAND_INS, Plan
from seathold.stack.process import Child, StackError, stop_all

READY_SECONDS = 60
PREPARE_SECONDS = 300
# What was killed needs a moment to end; PostgreSQL's last checkpoint is the longest.
LOCK_SECONDS = 15
# A process that dies again and again is started less and less often.
RESTART_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0)
# Whoever ended a server on purpose may want to start one in its place.
SERVER_RESTART_SECONDS = 3.0
SERVER_DEATHS_AT_MOST = 5
CALM_SECONDS = 30.0


@dataclass
class Deaths:
    """How often a process has died since it last was calm, and since when it is dead."""

    count: int = 0
    since: float | None = None
    restarted: float = 0.0


class Stack:
    """Start with ``with``; ``info`` is then what ``dev.json`` holds.

    ``env`` is added to the environment of our own processes. Setting
    ``SEATHOLD_DATABASE_URL``, ``SEATHOLD_REDIS_URL`` or ``TEMPORAL_ADDRESS`` replaces that
    embedded part. The thread that enters has to live as long as the stack.

    Raises:
        StackError: a part cannot run; one sentence names the fix.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        ports: ports.Policy = "default",
        env: Mapping[str, str] | None = None,
        seed: bool = True,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._dir = run_dir.resolve()
        self._policy = ports
        self._extra = {**(env or {}), "SEATHOLD_SEED": str(int(seed))}
        self._say = say
        self._children: dict[str, Child] = {}
        self._deaths: dict[str, Deaths] = {}
        self._stopped: set[str] = set()
        self._cleanup = ExitStack()
        self.info: dict[str, Any] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    @property
    def children(self) -> Mapping[str, Child]:
        """Every process by name: ``postgres``, …, ``worker-0``, ``api-0``."""
        return self._children

    def kill(self, name: str) -> None:
        """``kill -9``; ``tend`` starts it again."""
        self._children[name].kill()

    def stop(self, name: str) -> None:
        """End one process in order and leave it so, until ``start``."""
        self._stopped.add(name)
        self._children[name].stop()

    def start(self, name: str) -> None:
        """Start what was stopped or killed, and wait until it is ready."""
        self._stopped.discard(name)
        self._launch(name)
        self._wait_ready(name)
        self._write_info()

    def tend(self) -> None:
        """Start again what has died; call it a few times a second.

        Raises:
            StackError: a server dies again and again.
        """
        for name, child in list(self._children.items()):
            if child.is_running or name in self._stopped or not self._is_due(name, child):
                continue
            self._say(f"{name} has ended; starting it again (its log: {child.log}).")
            self._launch(name)
            self._write_info()

    def _start(self) -> None:
        lock = self._cleanup.enter_context(self._locked())
        self._forget_info()  # of a stack that was killed
        self._cleanup.callback(self._forget_info)
        self._cleanup.callback(self._stop_children)
        self._plan = plan = Plan(
            self._dir, policy=self._policy, extra=self._extra, lock=lock, say=self._say
        )
        self._cleanup.callback(plan.close)
        self._say("Starting the servers …")
        for name in (*plan.servers, *STAND_INS):
            self._launch(name)
        if "postgres" in plan.servers:
            self._wait_ready("postgres")
        self._say("Bringing the database up to date …")
        self._launch("prepare")
        for name in (*plan.servers, *STAND_INS):
            self._wait_ready(name)
        self._finish_preparing()
        self._say("Starting the API and the worker …")
        for name in (*plan.workers, *plan.apis):
            self._launch(name)
        # A reserve that comes before a worker asks for it is answered 202.
        for name in (*plan.apis, *plan.workers):
            self._wait_ready(name)
        self._write_info()

    @contextmanager
    def _locked(self) -> Iterator[int]:
        waiting = f"Another stack runs under {self._dir}; waiting for its end …"
        try:
            with exclusive(
                self._dir / "lock", seconds=LOCK_SECONDS, on_wait=lambda: self._say(waiting)
            ) as descriptor:
                yield descriptor
        except TimeoutError as error:
            raise StackError(
                f"Another stack runs under {self._dir}: stop it, or give --run-dir another place."
            ) from error
        except OSError as error:
            raise StackError(
                f"{self._dir} cannot be written ({error.strerror}): give --run-dir a folder that is"
                " yours."
            ) from error

    def _launch(self, name: str) -> None:
        self._children[name] = self._plan.launch(name)

    def _wait_ready(self, name: str) -> None:
        self._children[name].wait_ready(seconds=READY_SECONDS)

    def _finish_preparing(self) -> None:
        child = self._children["prepare"]
        if child.wait(seconds=PREPARE_SECONDS) != 0:
            raise StackError(f"The database could not be prepared. {child.last_words()}")
        del self._children["prepare"]

    def _is_due(self, name: str, child: Child) -> bool:
        """Whether a dead process is to be started now."""
        now = time.monotonic()
        deaths = self._deaths.setdefault(name, Deaths())
        if deaths.since is None:
            deaths.count = 1 if now - deaths.restarted > CALM_SECONDS else deaths.count + 1
            deaths.since = now
        pause = RESTART_SECONDS[min(deaths.count, len(RESTART_SECONDS)) - 1]
        if name in REPLACED_BY:
            if deaths.count > SERVER_DEATHS_AT_MOST:
                raise StackError(f"{name} ends again and again. {child.last_words()}")
            pause = SERVER_RESTART_SECONDS
            if ports.answers(self._plan.ports[name]):
                return False
        if now - deaths.since < pause:
            return False
        deaths.since, deaths.restarted = None, now
        return True

    def _stop_children(self) -> None:
        """Those that use the servers end first, so that they can finish what they have in hand."""
        own = [child for name, child in self._children.items() if "-" in name]
        stop_all(own)
        stop_all([child for child in self._children.values() if child not in own])

    def _forget_info(self) -> None:
        (self._dir / "dev.json").unlink(missing_ok=True)

    def _write_info(self) -> None:
        pids = {name: child.pid for name, child in self._children.items()}
        self.info = self._plan.info(pids)
        secrets.write_private(self._dir / "dev.json", json.dumps(self.info, indent=1))
