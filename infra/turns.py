"""A line that has an end: so many at once, so many waiting, and the next is turned away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from domain.errors import Unavailable

# One core checks this many passwords in about 5 s.
MAX_WAITING = 256
RETRY_AFTER_SECONDS = 5


class Turns:
    """For work on passwords: first come, first served."""

    def __init__(self, at_once: int, *, waiting: int = MAX_WAITING) -> None:
        self._at_once = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._here = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Raises Unavailable ``rate_limited``: too many wait already."""
        if self._here >= self._most:
            raise Unavailable(
                "Too many people are logging in just now.",
                code="rate_limited",
                retry_after=RETRY_AFTER_SECONDS,
            )
        self._here += 1
        try:
            async with self._at_once:
                yield
        finally:
            self._here -= 1
