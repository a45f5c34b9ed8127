"""``make campaign-race``: two hundred buyers for one seat, round after round."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# The campaign is the suite's own race, only longer: what a breach is, is written there alone.
TESTS = Path(__file__).parents[1] / "tests" / "race" / "test_one_seat.py"
ROUNDS = "SEATHOLD_TEST_RACE_ROUNDS"
DEFAULT_ROUNDS = 200


class Tally:
    """What the rounds came to, counted from what their tests record."""

    def __init__(self) -> None:
        self.rounds = 0
        self.winners = 0
        self.double_sales = 0
        self.breaches = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.breaches += report.failed
        if report.when == "call":
            found = dict(report.user_properties)
            self.rounds += 1
            self.winners += int(str(found.get("winners", 0)))
            self.double_sales += int(str(found.get("double_sales", 0)))

    def __str__(self) -> str:
        return (
            f"{self.rounds} rounds, {self.winners} winners, {self.double_sales} double sales,"
            f" {self.breaches} breaches"
        )


def main(rounds: int | None = None) -> int:
    """Race ``rounds`` times (200) at the database, some of them through Redis and Temporal too.

    Prints pytest's progress, then one line of figures. 1 if any round was breached, was not run
    to its end or could not begin; else 0.
    """
    os.environ[ROUNDS] = str(rounds or DEFAULT_ROUNDS)
    tally = Tally()
    status = pytest.main(["-q", "-p", "no:cacheprovider", str(TESTS)], plugins=[tally])
    print(f"campaign-race: {tally}")
    return int(status != pytest.ExitCode.OK or tally.winners != tally.rounds)
