"""Each service's command is one that the command line has, with options that it takes."""

from __future__ import annotations

import pytest
from typer.main import get_command

from seathold.cli import app
from tests.compose.stack_file import OURS, services


def accepts(arguments: list[str]) -> bool:
    """Whether the command line would run this; nothing is run."""
    name, *options = arguments
    command = get_command(app).get_command(None, name)  # type: ignore[attr-defined]
    if command is None:
        return False
    command.make_context(name, options)
    return True


@pytest.mark.parametrize("name", OURS)
def test_the_command_line_takes_the_command(name: str) -> None:
    assert accepts(services()[name]["command"])


def test_an_unknown_command_is_noticed() -> None:
    assert not accepts(["serve"])


def test_an_unknown_option_is_noticed() -> None:
    with pytest.raises(Exception, match="--colour"):
        accepts(["api", "--colour=red"])
