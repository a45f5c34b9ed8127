"""argon2id in a few threads of its own, so that logins never starve bookings."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from infra.common_passwords import common_passwords
from infra.turns import MAX_WAITING, Turns

T = TypeVar("T")

# OWASP's floor: 19 MiB, two passes, one lane; about 20 ms of one core.
MEMORY_KIB = 19456
PASSES = 2
# Hashing yields the cores to the event loop also where it may not be idle work.
NICENESS = 19


class Argon2Passwords:
    """See ``services.user.Passwords``. ``close`` ends its threads."""

    def __init__(self, *, workers: int | None = None, max_waiting: int = MAX_WAITING) -> None:
        self._hasher = PasswordHasher(
            time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=1, type=Type.ID
        )
        self.workers = workers or hashing_threads()
        self._threads = ThreadPoolExecutor(self.workers, "argon2", initializer=_step_back)
        self._turns = Turns(self.workers, waiting=max_waiting)
        common_passwords()  # now, and not while the first who registers waits
        # Nobody knows its password, and checking against it takes as long as any other.
        self._dummy = self._hasher.hash(secrets.token_urlsafe(32))

    async def hash(self, password: str) -> str:
        """Raises Unavailable ``rate_limited``: too many wait already."""
        return await self._run(lambda: self._hasher.hash(password))

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Raises Unavailable ``rate_limited``: too many wait already."""
        return await self._run(lambda: self._verify(password_hash, password))

    def is_outdated(self, password_hash: str) -> bool:
        return self._hasher.check_needs_rehash(password_hash)

    def is_common(self, password: str) -> bool:
        return password.casefold() in common_passwords()

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _verify(self, password_hash: str | None, password: str) -> bool:
        try:
            self._hasher.verify(password_hash or self._dummy, password)
        except (VerificationError, InvalidHashError):
            return False
        return password_hash is not None

    async def _run(self, job: Callable[[], T]) -> T:
        async with self._turns.turn():
            return await asyncio.get_running_loop().run_in_executor(self._threads, job)


def hashing_threads() -> int:
    """Half of the cores: the other half answers those who are logged in already.

    With a thread for each core the slowest reserves took about four times as long beside log-ins
    as without (``make bench-login``), whatever the threads' priority.
    """
    return max(1, (os.cpu_count() or 1) // 2)


def _step_back() -> None:
    """Use what all others leave of the cores; on Linux a thread has a policy of its own."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, NICENESS)
        with contextlib.suppress(OSError):  # some container runtimes know no other policy
            os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
