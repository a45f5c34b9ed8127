"""How every loop runs: one pass after another until told to stop; a failed pass is logged."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

import structlog

log = structlog.get_logger(__name__)


class Loop(Protocol):
    async def one_pass(self) -> int:
        """Work through one batch; how much it did."""
        ...


async def repeat(
    name: str,
    loop: Loop,
    *,
    full: int,
    rest_seconds: float,
    stop: asyncio.Event,
) -> None:
    """Make one pass after another: at once after a ``full`` batch, else after a rest.

    What comes during the rest is done together, which costs less than each by itself.

    This is an edge: whatever a pass raises is logged and the next pass starts afresh.
    """
    while not stop.is_set():
        try:
            done = await loop.one_pass()
        except Exception:
            log.exception("loop_failed", loop=name)
            done = 0
        if done < full:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), rest_seconds)
