"""A loop whose passes fail goes on, at a pace and with words that harm nobody."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from loops import edge
from loops.edge import repeat


class Passes:
    """One pass a letter, ``x`` fails; whoever repeats it is told to stop at the last."""

    def __init__(self, story: str, stop: asyncio.Event) -> None:
        self.story, self.stop, self.made = story, stop, 0

    async def one_pass(self) -> int:
        await asyncio.sleep(0)
        letter = self.story[self.made]
        self.made += 1
        if self.made == len(self.story):
            self.stop.set()
        if letter == "x":
            raise ConnectionError("the server is away")
        return 0


async def test_a_failure_is_told_each_time_and_its_trace_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(edge, "FAILED_REST_SECONDS", 0)
    monkeypatch.setattr(edge, "TRACE_EACH", 3)
    stop = asyncio.Event()
    with capture_logs() as lines:
        await repeat("inbox", Passes("xxxx.x", stop), full=1, rest_seconds=0, stop=stop)
    assert {line["event"] for line in lines} == {"loop_failed"}
    assert {(line["loop"], line["error"]) for line in lines} == {("inbox", "ConnectionError")}
    assert [line["exc_info"] for line in lines] == [True, False, False, True, True]


async def test_after_a_failure_a_loop_rests_though_it_has_no_rest_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(edge, "FAILED_REST_SECONDS", 3600)
    stop = asyncio.Event()
    passes = Passes("xxxxx", stop)
    working = asyncio.create_task(repeat("inbox", passes, full=1, rest_seconds=0, stop=stop))
    # As long as a loop without a rest needs for all of its passes.
    for _ in range(50):
        await asyncio.sleep(0)
    stop.set()
    await working
    assert passes.made == 1
