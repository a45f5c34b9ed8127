"""Wait for a condition, never for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(
    holds: Callable[[], Awaitable[bool]], *, seconds: float = 10, message: str = "it never held"
) -> None:
    """Ask until ``holds`` says yes; fail with ``message`` in time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await holds():
        assert asyncio.get_running_loop().time() < deadline, message
        await asyncio.sleep(0.05)
