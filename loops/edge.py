"""How every loop runs: one pass after another until told to stop; a failed pass is logged."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)


async def repeat(
    name: str, one_pass: Callable[[], Awaitable[int]], *, idle_seconds: float, stop: asyncio.Event
) -> None:
    """Call ``one_pass`` (it answers how much it did) at once after work, else after a rest.

    This is an edge: whatever a pass raises is logged and the next pass starts afresh.
    """
    while not stop.is_set():
        try:
            done = await one_pass()
        except Exception:
            log.exception("loop_failed", loop=name)
            done = 0
        if not done:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), idle_seconds)
