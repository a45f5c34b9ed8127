"""A line has an end, moves on whatever becomes of those in it, and works on few at once."""

from __future__ import annotations

import asyncio

import pytest

from domain.errors import Unavailable
from infra.turns import Turns


async def test_so_many_at_once_so_many_in_line_and_the_next_is_turned_away() -> None:
    turns, go = Turns(2, waiting=1), asyncio.Event()
    inside: list[str] = []

    async def come(name: str) -> None:
        async with turns.turn():
            inside.append(name)
            await go.wait()

    async with asyncio.TaskGroup() as group:
        for name in ("first", "second", "third"):
            group.create_task(come(name))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as refused:
            await come("fourth")
        assert refused.value.code == "rate_limited"
        assert refused.value.retry_after
        assert inside == ["first", "second"]
        go.set()
    assert inside == ["first", "second", "third"]


async def test_who_gives_up_or_fails_leaves_no_place_taken() -> None:
    turns = Turns(1, waiting=1)

    async def wait_for_ever() -> None:
        async with turns.turn():
            await asyncio.Event().wait()

    both = [asyncio.create_task(wait_for_ever()) for _ in range(2)]
    await asyncio.sleep(0)
    for task in both:
        task.cancel()
    await asyncio.gather(*both, return_exceptions=True)
    with pytest.raises(ZeroDivisionError):
        async with turns.turn():
            raise ZeroDivisionError
    async with turns.turn():
        pass
