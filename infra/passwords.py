"""argon2id in a few threads of its own, so that logins never starve bookings."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from domain.errors import Unavailable
from infra.common_passwords import common_passwords

T = TypeVar("T")

# OWASP's floor: 19 MiB, two passes, one lane; about 20 ms of one core.
MEMORY_KIB = 19456
PASSES = 2
# Two cores work this queue off in about 3 s; who would wait longer is told to come back.
MAX_WAITING = 256
RETRY_AFTER_SECONDS = 3
# Hashing yields the cores to the event loop wherever both want them.
NICENESS = 19


class Argon2Passwords:
    """See ``services.user.Passwords``. ``close`` ends its threads."""

    def __init__(self, *, workers: int | None = None, max_waiting: int = MAX_WAITING) -> None:
        self._hasher = PasswordHasher(
            time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=1, type=Type.ID
        )
        workers = workers or os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(workers, "argon2", initializer=_step_back)
        self._most = workers + max_waiting
        self._under_way = 0
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
        if self._under_way >= self._most:
            raise Unavailable(
                "Too many people are logging in just now.",
                code="rate_limited",
                retry_after=RETRY_AFTER_SECONDS,
            )
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, job)
        finally:
            self._under_way -= 1


def _step_back() -> None:
    """Lower this thread's priority; on Linux a thread has one of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
