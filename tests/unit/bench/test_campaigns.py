"""A campaign says what it found, ends by itself, and fails when a round was breached."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

import pytest

from bench import race
from bench.__main__ import CAMPAIGNS, main

ROUND = """
import os

import pytest


@pytest.mark.parametrize("number", range(int(os.environ["SEATHOLD_TEST_RACE_ROUNDS"])))
def test_round(number, record_property):
    record_property("winners", {winners})
    record_property("double_sales", {winners} - 1)
    assert {verdict}
"""
INI = """
[pytest]
asyncio_default_fixture_loop_scope = session
"""


@pytest.fixture
def rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a campaign looks for its rounds, instead of the suite's race."""
    (tmp_path / "pytest.ini").write_text(INI)
    # pytest imports a module of one name only once a process.
    path = tmp_path / f"test_{uuid4().hex}.py"
    monkeypatch.setattr(race, "TESTS", path)
    monkeypatch.setenv(race.ROUNDS, "0")
    return path


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("winners", "verdict", "status", "line"),
    [
        ("1", "True", 0, "3 rounds, 3 winners, 0 double sales, 0 breaches"),
        ("2", "False", 1, "3 rounds, 6 winners, 3 double sales, 3 breaches"),
        ("1 + (number == 1)", "number != 1", 1, "3 rounds, 4 winners, 1 double sales, 1 breaches"),
        # Even if the round itself saw nothing wrong.
        ("2", "True", 1, "3 rounds, 6 winners, 3 double sales, 0 breaches"),
    ],
)
def test_a_campaign_fails_on_any_breach_and_says_its_figures(
    rounds: Path,
    capsys: pytest.CaptureFixture[str],
    winners: str,
    verdict: str,
    status: int,
    line: str,
) -> None:
    rounds.write_text(ROUND.format(winners=f"({winners})", verdict=verdict))
    assert main(["campaign-race", "--rounds", "3"]) == status
    assert last_line(capsys) == f"campaign-race: {line}"


def test_a_campaign_without_rounds_is_no_success(
    rounds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rounds.write_text("raise RuntimeError('no server')\n")
    assert main(["campaign-race"]) == 1
    assert last_line(capsys).startswith("campaign-race: 0 rounds")


def test_an_unknown_name_is_told_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["campaign-race", "campaign-nothing"]) == 2
    found = capsys.readouterr().out
    assert found.startswith("There is no benchmark or campaign campaign-nothing;")
    assert found.count("\n") == 1
    assert all(name in found for name in CAMPAIGNS)


def test_the_help_names_every_campaign(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert re.search(r"campaign-race +two hundred buyers", told)
    assert all(f"  {name} " in told for name in CAMPAIGNS)


@pytest.mark.parametrize("value", ["0", "-1", "many", ""])
def test_rounds_are_a_number_of_them(value: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["campaign-race", f"--rounds={value}"])
    assert ended.value.code == 2
