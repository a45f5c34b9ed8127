"""A partner whose name servers do not answer keeps no other partner waiting."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra.outbound import Resolver
from tests.helpers.eventually import eventually

# As many as the event loop has threads for everything.
FEW = 4
GOOD = ["203.0.113.7"]


class Names:
    """Those that begin with ``slow`` are answered when ``answer`` is set, and no sooner."""

    def __init__(self) -> None:
        self.answer = threading.Event()
        self.asked: Counter[str] = Counter()

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked[host] += 1
        if host.startswith("slow"):
            assert self.answer.wait(30)
        return GOOD


@pytest.fixture
def names() -> Iterator[Names]:
    names = Names()
    yield names
    names.answer.set()


async def test_many_slow_names_keep_no_other_waiting(names: Names) -> None:
    resolver = Resolver(names)
    slow = [asyncio.ensure_future(resolver(f"slow{n}.example", 443)) for n in range(64)]
    assert await resolver("quick.example", 443) == GOOD
    assert not any(one.done() for one in slow)
    names.answer.set()
    assert await asyncio.gather(*slow) == [GOOD] * 64


async def test_without_threads_of_their_own_all_would_wait(names: Names) -> None:
    """The control: what the event loop does."""
    with ThreadPoolExecutor(FEW) as shared:
        loop = asyncio.get_running_loop()

        async def resolve(host: str) -> Sequence[str]:
            return await loop.run_in_executor(shared, names, host, 443)

        slow = [asyncio.ensure_future(resolve(f"slow{n}.example")) for n in range(FEW)]

        async def all_asked() -> bool:
            return len(names.asked) == FEW

        await eventually(all_asked)
        quick = asyncio.ensure_future(resolve("quick.example"))
        await asyncio.sleep(0)
        assert not quick.done()
        assert "quick.example" not in names.asked
        names.answer.set()
        assert await quick == GOOD
        await asyncio.gather(*slow)


async def test_a_name_is_looked_up_once_for_all_who_ask_and_again_afterwards(names: Names) -> None:
    resolver = Resolver(names)
    slow = [asyncio.ensure_future(resolver("slow.example", 443)) for _ in range(20)]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(resolver("slow.example", 443), 0.01)
    names.answer.set()
    assert await asyncio.gather(*slow) == [GOOD] * 20
    assert names.asked["slow.example"] == 1, "who gives up ends nobody's lookup"
    await resolver("slow.example", 443)
    assert names.asked["slow.example"] == 2, "nothing is kept: what a name says may change"


async def test_there_is_an_end_to_it(names: Names) -> None:
    resolver = Resolver(names, most=2)
    slow = [asyncio.ensure_future(resolver(f"slow{n}.example", 443)) for n in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="too many"):
        await resolver("quick.example", 443)
    names.answer.set()
    await asyncio.gather(*slow)
    assert await resolver("quick.example", 443) == GOOD
