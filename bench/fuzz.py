"""``make campaign-fuzz``: Schemathesis on the whole API, 1,000 examples an operation."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1] / "tests" / "fuzz" / "test_api_fuzz.py"
EXAMPLES = "SEATHOLD_TEST_FUZZ_EXAMPLES"
REPORT = "SEATHOLD_TEST_FUZZ_REPORT"
DEFAULT_EXAMPLES = 1000


def main(rounds: int | None = None) -> int:
    """Fuzz with ``rounds`` examples an operation (1,000), then print what Schemathesis counted.

    1 if anything was found or it could not run to its end; else 0.
    """
    os.environ[EXAMPLES] = str(rounds or DEFAULT_EXAMPLES)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.txt"
        os.environ[REPORT] = str(report)
        arguments = ["-q", "-p", "no:cacheprovider", "--timeout=0", str(TESTS)]
        status = pytest.main(arguments)
        told = report.read_text() if report.exists() else "nothing was run"
    summary = told.partition("== SUMMARY ==")[2] or told[-2000:]
    print(f"campaign-fuzz: {summary.strip(' =')}")
    return int(status != pytest.ExitCode.OK)
