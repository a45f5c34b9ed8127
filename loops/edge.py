"""How every loop runs: one pass after another until told to stop; a failed pass is logged."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

import structlog

log = structlog.get_logger(__name__)
Item = TypeVar("Item")
Found_co = TypeVar("Found_co", covariant=True)
# While Temporal is away each of a batch waits its time out: together, a pass still ends.
AT_ONCE = 10
# What a pass fails of, a server that is away say, is seldom over in less. The trace is logged about
# once a minute: of a dozen loops ten times a second it would fill the disk.
FAILED_REST_SECONDS = 1.0
TRACE_EACH = 60


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
    failed = 0
    while not stop.is_set():
        rest = rest_seconds
        try:
            done = await loop.one_pass()
            failed = 0
        except Exception as error:
            has_trace = failed % TRACE_EACH == 0
            log.error("loop_failed", loop=name, error=type(error).__name__, exc_info=has_trace)
            done, failed, rest = 0, failed + 1, max(rest_seconds, FAILED_REST_SECONDS)
        if done < full:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), rest)


async def each(
    found: Awaitable[Sequence[Item]], act: Callable[[Item], Awaitable[None]]
) -> list[Exception]:
    """``act`` on everything that was found; what one of it raises keeps none of the others.

    Returns:
        What was raised, for the pass to raise one of it when all its work is done.
    """
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(item: Item) -> None:
        async with turns:
            await act(item)

    try:
        items = await found
    except Exception as error:  # noqa: BLE001 -- what else a pass has to do is done all the same
        return [error]
    results = await asyncio.gather(*map(one, items), return_exceptions=True)
    failed: list[Exception] = []
    for item, result in zip(items, results, strict=True):
        if isinstance(result, Exception):
            log.warning("loop_item_failed", item=str(item), reason=repr(result))
            failed.append(result)
    return failed


class Find(Protocol[Found_co]):
    async def __call__(self, *, seconds: float, limit: int, skip: int) -> Sequence[Found_co]: ...


class Round(Generic[Found_co]):
    """One batch after another, then from the oldest on again.

    What stays where it is, pass after pass, keeps nothing behind it from its turn.
    """

    def __init__(self, find: Find[Found_co], seconds: float, batch: int) -> None:
        self._find = find
        self._seconds = seconds
        self._batch = batch
        self._skip = 0

    async def next(self) -> Sequence[Found_co]:
        found = await self._find(seconds=self._seconds, limit=self._batch, skip=self._skip)
        self._skip = self._skip + self._batch if len(found) == self._batch else 0
        return found
