"""``make mutants``: break the money path in each known way; the tests must notice every time."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.mutant_list import MUTANTS, Edit, Mutant
from seathold.stack.process import StackError
from tests.fixtures import servers

ROOT = Path(__file__).parents[1]
FAILED = re.compile(r"^FAILED (?P<test>.+?)(?: - (?P<reason>.*))?$", re.MULTILINE)
LAST_LINES = 40
# A mutant may leave something that is waited for after its test has failed.
LONGEST_SECONDS = 150


class CannotRun(Exception):
    """The mutants can prove nothing as things are; the message is one sentence."""


@dataclass(frozen=True)
class Result:
    """How the tests took one mutant: ``killer`` is the test that failed, None for a survivor."""

    name: str
    seconds: float
    killer: str | None = None
    reason: str | None = None

    def __str__(self) -> str:
        if self.killer is None:
            return f"SURVIVED, {self.seconds:.1f} s"
        # Why it failed is told too: a mutant that only crashes has not been noticed as a bug.
        return f"killed, {self.seconds:.1f} s\n      by {self.killer}\n      {self.reason}"


def apply(mutant: Mutant, tree: Path) -> None:
    """Write the mutant's bugs into the tree.

    Raises:
        CannotRun: an old text is not there exactly once, so the mutant would prove nothing.
    """
    for edit in mutant.edits:
        path = find(mutant, edit, tree)
        path.write_text(path.read_text("utf-8").replace(edit.old, edit.new), "utf-8")


def find(mutant: Mutant, edit: Edit, tree: Path) -> Path:
    """The one file that has the edit's old text, once.

    Raises:
        CannotRun: there is none, or more than one place.
    """
    place = tree / edit.path
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    counts = {path: path.read_text("utf-8").count(edit.old) for path in files if path.exists()}
    if sum(counts.values()) != 1:
        raise CannotRun(
            f"Mutant {mutant.name} no longer applies: {edit.path} has its old text"
            f" {sum(counts.values())} times, not once; adapt it in bench/mutant_list.py."
        )
    return next(path for path, count in counts.items() if count)


def run(mutants: Sequence[Mutant], source: Path, environment: Mapping[str, str]) -> list[Result]:
    """Run each mutant's tests in a copy of ``source``; first all of them on the code as it is.

    Prints one line when a run begins and ends it with what came out.

    Raises:
        CannotRun: a mutant does not apply, the sound code fails, or pytest could not run a test.
    """
    chosen = tuple(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
    _say(f" 0/{len(mutants)} the code as it is ... ")
    sound = _attempt(Mutant("the code as it is", (), chosen), source, environment)
    if sound.killer:
        raise CannotRun(f"{sound.killer} fails without any mutant; make it pass first.")
    _say(f"passes, {sound.seconds:.1f} s\n")
    results = []
    for number, mutant in enumerate(mutants, 1):
        _say(f"{number:2}/{len(mutants)} {mutant.name} ... ")
        results.append(_attempt(mutant, source, environment))
        _say(f"{results[-1]}\n")
    return results


def main(arguments: Sequence[str]) -> int:
    """Run those named, or all; 1 if one survives or nothing can be proven, 2 for a wrong name."""
    parser = argparse.ArgumentParser("python -m bench.mutants", description=_summary())
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(_names()))
    asked = parser.parse_args(arguments).names
    if unknown := [name for name in asked if name not in _names()]:
        print(f"There is no mutant {unknown[0]}; there are: {', '.join(_names())}.")
        return 2
    mutants = [mutant for mutant in MUTANTS if not asked or mutant.name in asked]
    begun = time.monotonic()
    with ExitStack() as stop:
        shared = servers.Servers()
        stop.callback(shared.stop)
        try:
            # A mutant may leave workflows running, which the next one's worker would take up.
            shared.start(without=[servers.TEMPORAL])
            results = run(mutants, ROOT, os.environ)
        except (CannotRun, StackError) as error:
            print(f"\nmutants: {error}")
            return 1
    survivors = [result.name for result in results if result.killer is None]
    said = f"; survived: {', '.join(survivors)}" if survivors else ""
    killed = len(results) - len(survivors)
    seconds = time.monotonic() - begun
    print(f"mutants: {killed} of {len(results)} killed in {seconds:.0f} s{said}")
    return int(bool(survivors))


def _attempt(mutant: Mutant, source: Path, environment: Mapping[str, str]) -> Result:
    """Each attempt has a copy of its own, so that nothing of one is left to the next."""
    with tempfile.TemporaryDirectory(prefix="seathold-mutant-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(source, tree, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        apply(mutant, tree)
        begun = time.monotonic()
        code, output = _run_tests(mutant, tree, environment)
        seconds = time.monotonic() - begun
    if code == pytest.ExitCode.OK:
        return Result(mutant.name, seconds)
    # A test that could not be set up has noticed nothing.
    failed = FAILED.search(output)
    if code not in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED) or failed is None:
        _say("\n" + "\n".join(output.splitlines()[-LAST_LINES:]) + "\n")
        raise CannotRun(f"The tests of {mutant.name} did not run; see above.")
    return Result(mutant.name, seconds, failed["test"], failed["reason"])


def _run_tests(mutant: Mutant, tree: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """pytest's exit code and what it printed; interrupted when a mutant's tests do not end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *mutant.tests],
        cwd=tree,
        # The copy's code, even where the project is installed.
        env={**environment, "PYTHONPATH": str(tree), "COLUMNS": "240"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=LONGEST_SECONDS if mutant.edits else None)
    except subprocess.TimeoutExpired:
        # As Ctrl-C does: its servers are stopped, and the failure is told.
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate()
    return process.returncode, output


def _names() -> list[str]:
    return [mutant.name for mutant in MUTANTS]


def _summary() -> str:
    return (__doc__ or "").partition("``: ")[2]


def _say(text: str) -> None:
    print(text, end="", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
