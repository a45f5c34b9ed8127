"""Refused log-ins and the like, told to the audit log once a minute as sums, never one by one.

An entry for each would let anybody who guesses fill the log; the request path only counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

import psycopg
import structlog

from api.middleware.metrics import Metrics
from services.ports import UnitOfWork

LOGIN = "/api/auth/login"
EVERY_SECONDS = 60.0
# What each status says of a caller, wherever it is answered.
REFUSED = {"401": "unauthenticated", "403": "forbidden", "429": "limited"}

log = structlog.get_logger(__name__)


class Refusals:
    """What one process has refused since it last told; ``target`` names the process."""

    def __init__(self, begin: UnitOfWork, metrics: Metrics, target: str | None = None) -> None:
        self._begin = begin
        self._metrics = metrics
        self._target = target or f"api:{socket.gethostname()}:{os.getpid()}"
        self._told: dict[str, int] = {}

    async def tell(self) -> None:
        """Write down what came since, if anything did."""
        counts = self._counts()
        news = {name: count - self._told.get(name, 0) for name, count in counts.items()}
        details = {name: count for name, count in news.items() if count}
        if not details:
            return
        async with self._begin() as tx:
            tx.audit.note(
                "requests.refused",
                target=self._target,
                actor="system",
                details=details,
            )
        self._told = counts

    @contextlib.asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        """Tell every minute for as long as the block lasts, and at its end."""
        telling = asyncio.create_task(self._keep_telling())
        try:
            yield
        finally:
            telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await telling
            await self._try_to_tell()

    async def _keep_telling(self) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self._try_to_tell()

    async def _try_to_tell(self) -> None:
        try:
            await self.tell()
        except psycopg.Error:
            # They are counted on, and told when the database is back.
            log.exception("refusals_not_told")

    def _counts(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for (_, route, status), count in self._metrics.counts().items():
            name = REFUSED.get(status)
            if name is None:
                continue
            if route == LOGIN:
                name = f"login_{name}"
            counts[name] = counts.get(name, 0) + count
        return counts
