"""``seathold check`` reads ``.env`` as the stack does that it checks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from seathold.check import main
from seathold.checker.inputs import Inputs
from tests.check.builders import Connection, id_of
from tests.check.conftest import Checker
from tests.check.test_seeded_breaches import hold_four

ELSEWHERE = "postgresql://nobody@127.0.0.1:1/elsewhere"


@pytest.fixture(autouse=True)
def nothing_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
        monkeypatch.delenv(name)


def write_dotenv(told: dict[str, str]) -> None:
    Path(".env").write_text("".join(f"{name}={value}\n" for name, value in told.items()))


def write_running(told: dict[str, str]) -> None:
    Path(".run").mkdir()
    Path(".run/dev.json").write_text(json.dumps(told))


def hold_for_three_minutes_past_its_end(db: Connection) -> None:
    closing = "UPDATE bookings SET closing_since = now() - interval '3 minutes' WHERE id = %s"
    db.execute(closing, (id_of("expiring"),))


@pytest.mark.parametrize(
    ("spoil", "setting"),
    [
        (hold_four, {"SEATHOLD_MAX_LIVE_HOLDS_PER_USER": "10"}),
        (hold_for_three_minutes_past_its_end, {"SEATHOLD_PAYMENT_GRACE_SECONDS": "300"}),
    ],
    ids=["S8", "L1"],
)
def test_a_limit_that_only_dotenv_widens_is_the_limit(
    checker: Checker,
    db: Connection,
    spoil: Callable[[Connection], None],
    setting: dict[str, str],
) -> None:
    spoil(db)
    write_dotenv(checker.environ)
    assert main() == 1
    write_dotenv(checker.environ | setting)
    assert main() == 0


def test_the_environment_goes_before_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    write_dotenv({"SEATHOLD_DATABASE_URL": ELSEWHERE, "SEATHOLD_MAX_SEATS_PER_BOOKING": "2"})
    monkeypatch.setenv("SEATHOLD_MAX_SEATS_PER_BOOKING", "4")
    inputs = Inputs.read()
    assert (inputs.database_url, inputs.max_seats_per_booking) == (ELSEWHERE, 4)


@pytest.mark.parametrize(("named", "sandbox"), [(ELSEWHERE, "http://here"), ("other", None)])
def test_a_running_stack_tells_the_rest_of_its_own_database(
    named: str, sandbox: str | None
) -> None:
    write_running({"database_url": ELSEWHERE, "sandbox_url": "http://here"})
    write_dotenv({"SEATHOLD_DATABASE_URL": named})
    inputs = Inputs.read()
    assert (inputs.database_url, inputs.sandbox_url) == (named, sandbox)
