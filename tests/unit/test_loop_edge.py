"""When a loop rests, what it takes up next, and what becomes of work that cannot be found."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from loops.edge import Round, each, repeat


class Passes:
    """Each does as much as is written down for it; the last one lets the loop be stopped."""

    def __init__(self, *done: int) -> None:
        self._done = list(done)
        self.made = 0
        self.stop = asyncio.Event()

    async def one_pass(self) -> int:
        self.made += 1
        if self.made == len(self._done):
            # Once the loop rests, and no sooner.
            asyncio.get_running_loop().call_soon(self.stop.set)
        elif self.made > len(self._done):
            self.stop.set()
            return 0
        return self._done[self.made - 1]


async def test_a_loop_goes_on_after_a_full_batch_and_rests_after_another() -> None:
    passes = Passes(2, 2, 1)
    async with asyncio.timeout(10):
        await repeat("test", passes, full=2, rest_seconds=3600, stop=passes.stop)
    assert passes.made == 3


async def test_a_round_begins_again_with_the_oldest() -> None:
    waiting = ["a", "b", "c"]

    async def find(*, seconds: float, limit: int, skip: int) -> Sequence[str]:
        return waiting[skip : skip + limit]

    turns = Round(find, seconds=0, batch=2)
    assert [await turns.next() for _ in range(3)] == [["a", "b"], ["c"], ["a", "b"]]


async def test_what_keeps_a_pass_from_finding_its_work_is_given_back() -> None:
    async def find() -> Sequence[str]:
        raise LookupError

    async def act(_: str) -> None: ...

    [error] = await each(find(), act)
    assert isinstance(error, LookupError)
