"""``make campaign-webhooks``: every sequence of up to five webhooks against the facts."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

# The campaign is the suite's own test, only longer: what a breach is, is written there alone.
ONLY = Path(__file__).parents[1] / "tests" / "sequences" / "test_webhook_sequences.py"
LENGTH = "SEATHOLD_TEST_SEQUENCE_LENGTH"
DEFAULT_LENGTH = 5
COUNTED = ("sequences", "bookings", "deliveries")


class Tally:
    """What the shares came to, counted from what their tests record."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.breaches = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.breaches += report.failed
        if report.when == "call":
            found = dict(report.user_properties)
            self.counts.update({name: int(str(found.get(name, 0))) for name in COUNTED})

    def __str__(self) -> str:
        told = ", ".join(f"{self.counts[name]} {name}" for name in COUNTED)
        return f"{told}, {self.breaches} breaches"


def main(rounds: int | None = None) -> int:
    """Run every sequence of 1 to ``rounds`` webhooks (5); 1 if two ends of the same facts differ.

    Prints pytest's progress, then one line of figures.
    """
    os.environ[LENGTH] = str(rounds or DEFAULT_LENGTH)
    tally = Tally()
    processes = str(os.cpu_count() or 1)
    status = pytest.main(
        ["-q", "-p", "no:cacheprovider", "-n", processes, "--dist", "worksteal", str(ONLY)],
        plugins=[tally],
    )
    print(f"campaign-webhooks: {tally}")
    return int(status != pytest.ExitCode.OK)
