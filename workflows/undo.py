"""The undo stack: registered before the act, run in reverse, each step to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

Undo = Callable[[], Awaitable[object]]
T = TypeVar("T")


class UndoStack:
    """Compensations in the order they were registered.

    Each must succeed when there is nothing to undo: its act may have failed before its effect.
    """

    def __init__(self) -> None:
        self._undos: list[Undo] = []

    def register(self, undo: Undo) -> None:
        self._undos.append(undo)

    def forget(self) -> None:
        """What was done stands: the saga goes on from here."""
        self._undos.clear()

    async def run(self) -> None:
        """Undo everything, last first."""
        while self._undos:
            await self._undos[-1]()
            self._undos.pop()


async def to_the_end(step: Coroutine[Any, Any, T]) -> T:
    """Await ``step`` even when the workflow is cancelled meanwhile.

    A bare shield would leave the step running beside its own compensation.
    """
    task = asyncio.create_task(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        return await task
