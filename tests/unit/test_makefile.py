"""Whatever ``make help`` offers runs something that is there."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer

from bench.__main__ import BENCHMARKS, CAMPAIGNS
from seathold.cli import app

MAKEFILE = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
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
