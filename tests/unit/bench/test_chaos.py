"""The chaos campaign can be repeated, and sees a promise that was broken."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from bench import chaos
from bench.__main__ import main
from bench.chaos import Tally, judged
from bench.chaos_buyers import Buyer, Told
from bench.chaos_faults import plan


def test_the_number_of_a_round_says_its_faults() -> None:
    plans = [plan(random.Random(number), within=13) for number in range(200)]
    assert plans == [plan(random.Random(number), within=13) for number in range(200)]
    assert {len(faults) for faults in plans} == {1, 2, 3, 4}
    assert all(faults == sorted(faults, key=lambda fault: fault.at) for faults in plans)
    every = [fault for faults in plans for fault in faults]
    assert all(0 <= fault.at <= 13 for fault in every)
    assert {fault.kind for fault in every} == {
        "kill",
        "freeze",
        "have the provider",
        "flush Redis",
        "cut PostgreSQL's connections",
        "lose Temporal's data",
    }
    assert all(bool(fault.role) is (fault.kind in ("kill", "freeze")) for fault in every)


def test_promises_that_were_kept_are_no_breach() -> None:
    told = Told(held={"a", "b", "c"}, confirmed={"a"}, cancelled={"b"})
    assert (
        judged(told, {"a": "confirmed", "b": "cancelled", "c": "expired", "d": "confirmed"}) == []
    )


@pytest.mark.parametrize(
    ("told", "state", "breach"),
    [
        (Told(held={"a"}), None, "booking a was held and is gone"),
        (Told(held={"a"}), "expiring", "booking a is still expiring"),
        (Told(confirmed={"a"}), "expired", "booking a was confirmed and is expired"),
        (Told(confirmed={"a"}), None, "booking a was confirmed and is None"),
        (Told(cancelled={"a"}), "confirmed", "booking a was cancelled and is confirmed"),
        (Told(complaints=["GET /: 500"]), "expired", "GET /: 500"),
    ],
)
def test_a_promise_that_was_broken_is_told(told: Told, state: str | None, breach: str) -> None:
    assert judged(told, {"a": state} if state else {}) == [breach]


@pytest.mark.parametrize(
    ("answers", "complaints"),
    [
        ([(503, True), (409, True), (200, False)], 0),
        ([(503, False)], 1),
        ([(500, False)], 1),
        ([(404, False)], 0),
    ],
)
async def test_buyers_ask_again_when_they_are_told_to(
    monkeypatch: pytest.MonkeyPatch, answers: list[tuple[int, bool]], complaints: int
) -> None:
    monkeypatch.setattr("bench.chaos_buyers.REST_SECONDS", 0)
    told, left = Told(), iter(answers)

    def answer(_: httpx2.Request) -> httpx2.Response:
        status, tells_when = next(left)
        headers = {"Retry-After": "1"} if tells_when else {}
        return httpx2.Response(status, headers=headers, json={"code": "request_in_progress"})

    async with httpx2.AsyncClient(
        base_url="http://api.test", transport=httpx2.MockTransport(answer)
    ) as api:
        buyer = Buyer(api, api, "token", random.Random(0), told)
        last = await buyer.ask("GET", "/api/me")
    assert last is not None
    assert last.status_code == answers[-1][0]
    assert told.answers.total() == len(answers)
    assert len(told.complaints) == complaints


@pytest.mark.parametrize("breached", [0, 1])
def test_the_logs_of_a_breach_are_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    breached: int,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    @contextmanager
    def nothing_runs(*_: Any, **__: Any) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace()

    async def campaign(_: Any, rounds: int) -> Tally:
        return Tally(rounds=rounds, breached=breached)

    monkeypatch.setattr(chaos, "running", nothing_runs)
    monkeypatch.setattr(chaos, "_campaign", campaign)
    assert main(["campaign-chaos", "--rounds", "2"]) == breached
    kept = [str(folder) for folder in tmp_path.iterdir()]
    assert len(kept) == breached
    told = capsys.readouterr().out
    assert "campaign-chaos: 2 rounds, 0 faults, 0 bookings" in told
    assert f"{breached} rounds breached" in told
    assert all(folder in told for folder in kept)
