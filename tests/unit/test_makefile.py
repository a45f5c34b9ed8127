"""Whatever ``make help`` offers runs something that is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer

from bench.__main__ import BENCHMARKS, CAMPAIGNS
from seathold.cli import app

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
# Name → (what help says, recipe).
TARGETS = {
    name: (said, recipe)
    for name, said, recipe in re.findall(
        r"^([a-z0-9%-]+):[^\n]*?(?:## ([^\n]*))?\n((?:\t[^\n]*\n?)*)", MAKEFILE, re.MULTILINE
    )
}
HELPED = [name for name, (said, _) in TARGETS.items() if said]


def test_the_list_is_found() -> None:
    assert {"dev", "demo", "test", "bench", "bench-%", "campaign-%", "openapi"} <= set(HELPED)


@pytest.mark.parametrize("name", HELPED)
def test_a_target_runs_modules_and_commands_that_exist(name: str) -> None:
    _, recipe = TARGETS[name]
    for module in re.findall(r"\$\(RUN\) python -m (\S+)", recipe):
        assert find_spec(module), module
    commands = typer.main.get_group(app).commands
    for command in re.findall(r"\$\(RUN\) seathold (\S+)", recipe):
        assert command in commands


@pytest.mark.parametrize(("family", "served"), [("bench", BENCHMARKS), ("campaign", CAMPAIGNS)])
def test_a_family_serves_the_one_that_its_help_names(
    family: str, served: dict[str, object]
) -> None:
    said, recipe = TARGETS[f"{family}-%"]
    [example] = re.findall(rf"such as {family}-(\w+)", said)
    [asked] = re.findall(r"python -m bench (\S+)", recipe)
    name = asked.replace("$*", example)
    assert name in served


def test_the_list_of_what_we_depend_on_is_made_from_the_lock_file() -> None:
    """The recipe's own command, to standard output and without a network."""
    [command] = re.findall(r"\$\(UV\) (export .*?) --output-file", TARGETS["sbom"][1])
    uv = shutil.which("uv") or str(ROOT / ".venv" / "bin" / "uv")
    printed = subprocess.run(
        [uv, "--offline", *command.split()], cwd=ROOT, capture_output=True, check=True, timeout=60
    )
    document = json.loads(printed.stdout)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    listed = {(one["name"], one["version"]) for one in document["components"]}
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    locked = {(one["name"], one["version"]) for one in lock["package"] if "version" in one}
    assert listed < locked
    assert {"fastapi", "temporalio"} <= dict(listed).keys()
    assert "pytest" not in dict(listed), "what runs, not what tests it"
