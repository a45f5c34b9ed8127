"""Windows as time goes by, with a clock of the test's own."""

from __future__ import annotations

import time
from typing import Any

import pytest

from infra.rate_limits import Hit, LocalCounts, Policy, RateLimits
from infra.redis.client import create_redis
from infra.settings import Settings

POLICY = Policy("default", 3, 60)


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.fixture
def limits() -> RateLimits:
    return RateLimits(create_redis(Settings(_env_file=None)))


def test_a_client_that_waits_as_told_is_never_refused(clock: Clock, limits: RateLimits) -> None:
    for _ in range(50):
        standing = limits.here(Hit(POLICY, "a"))
        assert not standing.is_over
        if standing.remaining == 0:
            clock.now += standing.reset_seconds
        clock.now += 0.3


def test_over_ten_minutes_the_rate_is_the_policys(clock: Clock, limits: RateLimits) -> None:
    began, taken = clock.now, 0
    while clock.now < began + 600:
        taken += not limits.here(Hit(POLICY, "a")).is_over
        clock.now += 0.5
    assert 0.95 <= taken / (POLICY.quota * 10) <= 1.05


def test_refused_requests_do_not_lengthen_the_wait(clock: Clock, limits: RateLimits) -> None:
    for _ in range(100):
        standing = limits.here(Hit(POLICY, "a"))
        clock.now += 0.5
    assert standing.is_over
    clock.now += standing.reset_seconds
    assert not limits.here(Hit(POLICY, "a")).is_over


def test_memory_is_bounded_by_the_newest_windows(clock: Clock) -> None:
    counts = LocalCounts(most=100)
    for number in range(10_000):
        counts.incr(str(number), 60)
    assert len(counts._windows) == 100
    assert counts.get("9999") == 1
    assert counts.get("1") == 0


@pytest.mark.parametrize(
    ("standings", "told"),
    [
        ([("a", 3), ("b", 1)], "b"),
        ([("a", 1), ("b", 3)], "a"),
    ],
)
def test_the_tightest_window_is_the_one_that_is_told(
    clock: Clock, limits: RateLimits, standings: list[tuple[str, int]], told: str
) -> None:
    hits: list[Any] = [Hit(Policy(name, quota, 60), "a") for name, quota in standings]
    assert limits.here(*hits).policy.name == told
