"""A command that is told no database works on the stack in ``.run``; what it cannot, it says."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import typer
from typer.testing import CliRunner

from infra.settings import Settings
from seathold.here import Commands
from tests.fixtures import servers

NOBODY = "postgresql://nobody@127.0.0.1:1/elsewhere"
SECONDS = 60


def seathold(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in ``folder``, and in an environment that names only what is given."""
    return run(folder, words, environment, subprocess.PIPE)


def run(
    folder: Path, words: Sequence[str], environment: Mapping[str, str], stdout: int
) -> subprocess.CompletedProcess[str]:
    bare = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SEATHOLD_", "TEMPORAL_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "seathold", *words],
        cwd=folder,
        env={**bare, **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture
def running(settings: Settings, tmp_path: Path) -> Path:
    """A folder where a stack runs, as far as its ``dev.json`` says."""
    (tmp_path / ".run").mkdir()
    told = {"database_url": settings.database_url.get_secret_value()}
    (tmp_path / ".run" / "dev.json").write_text(json.dumps(told))
    return tmp_path


def test_the_stack_that_runs_here_is_found(running: Path) -> None:
    done = seathold(running, "projections")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("where", ["environment", "dotenv"])
def test_a_database_that_is_named_comes_first(running: Path, where: str) -> None:
    named = {"SEATHOLD_DATABASE_URL": NOBODY}
    if where == "dotenv":
        (running / ".env").write_text(f"SEATHOLD_DATABASE_URL={NOBODY}\n")
        named = {}
    done = seathold(running, "projections", **named)
    assert done.returncode == 2
    assert "port 1 failed: Connection refused. Start `seathold dev`, or name a" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "url"),
    [
        ("api", "SEATHOLD_DATABASE_URL"),
        ("migrate", "SEATHOLD_DATABASE_URL"),
        ("migrate", "SEATHOLD_MIGRATE_DATABASE_URL"),
    ],
)
def test_whom_the_database_of_the_stack_here_does_not_let_in_is_told_where_its_address_is(
    running: Path, settings: Settings, words: str, url: str
) -> None:
    ours = settings.database_url.get_secret_value()
    strange = urlsplit(ours)._replace(path="/there-is-no-such-database").geturl()
    done = seathold(running, words, **{url: strange, "SEATHOLD_API_PORT": "0"})
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert "FATAL" in last
    assert "SEATHOLD_MIGRATE_DATABASE_URL); that of the stack here is in .run/dev.json." in last
    assert "seathold dev" not in last


@pytest.mark.parametrize("written", ['{"database_url": ', "[]", "null"])
def test_a_stack_that_cannot_be_read_is_not_taken_for_none(running: Path, written: str) -> None:
    (running / ".run" / "dev.json").write_text(written)
    for words in (["projections"], ["check"], ["check", "--run-dir", ".run"]):
        done = seathold(running, *words)
        assert done.returncode == 2, "1 is a breach"
        assert ".run/dev.json cannot be read" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_temporal_that_is_away_is_said_in_one_sentence(running: Path) -> None:
    elsewhere = {"TEMPORAL_ADDRESS": "127.0.0.1:1"}
    done = seathold(running, "worker", SEATHOLD_DATABASE_URL=NOBODY, **elsewhere)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: Temporal: ")
    assert done.stderr.endswith("or name a server with TEMPORAL_ADDRESS.\n")


@pytest.mark.parametrize("process", ["api", "worker"])
@pytest.mark.parametrize(
    ("is_there", "why"),
    [
        (False, "Connection refused. Start `seathold dev`, or name a database with "),
        (True, "could be sold twice; run `seathold migrate`, or recreate the index, and "),
    ],
    ids=["away", "never migrated"],
)
def test_what_serves_says_in_one_sentence_what_its_database_lacks(
    settings: Settings, tmp_path: Path, process: str, is_there: bool, why: str
) -> None:
    named = {"SEATHOLD_DATABASE_URL": os.environ[servers.DATABASE] if is_there else NOBODY}
    given = {"TEMPORAL_ADDRESS": os.environ[servers.TEMPORAL], "SEATHOLD_API_PORT": "0"}
    done = seathold(tmp_path, process, **named, **given)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    assert why in last
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        "api --port 65536",
        "sandbox --port 65536",
        "mail --port 65536",
        "mail --smtp-port 65536",
        "codec --port 65536",
    ],
)
def test_a_port_that_no_machine_has_is_refused(tmp_path: Path, words: str) -> None:
    done = seathold(tmp_path, *words.split(), SEATHOLD_DATABASE_URL=NOBODY)
    assert done.returncode == 2
    assert f"Invalid value for '{words.split()[1]}'" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        "api --port {}",
        "codec --port {}",
        "sandbox --port {}",
        "mail --smtp-port 0 --port {}",
        "mail --port 0 --smtp-port {}",
    ],
)
def test_a_port_that_is_taken_is_told_with_the_option_for_another(
    settings: Settings, tmp_path: Path, words: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        asked = words.format(taken.getsockname()[1]).split()
        named = {"SEATHOLD_DATABASE_URL": settings.database_url.get_secret_value()}
        done = seathold(tmp_path, *asked, **named)
    assert done.returncode == 2
    where, option = asked[-1], asked[-2]
    assert done.stderr == (
        f"Error: Nothing can listen on 127.0.0.1:{where} (Address already in use):"
        f" name another with --host or {option}.\n"
    )


@pytest.mark.parametrize("option", ["--webhook-url", "--public-url"])
def test_an_address_that_is_none_is_refused_by_the_sandbox(tmp_path: Path, option: str) -> None:
    done = seathold(tmp_path, "sandbox", option, "nope")
    assert done.returncode == 2
    assert f"Invalid value for '{option}': It must be an absolute http or" in done.stderr


@pytest.mark.parametrize("words", ["seed", "dev --run-dir here --ports auto"])
def test_a_setting_that_is_wrong_is_named(running: Path, words: str) -> None:
    wrong = {
        "SEATHOLD_HOLD_SECONDS": "abc",
        "SEATHOLD_API_PORT": "65536",
        "SEATHOLD_API_WORKERS": "two",
        "SEATHOLD_SMTP_PORT": "0",
    }
    done = seathold(running, *words.split(), **wrong)
    assert done.returncode == 2
    told = [line.partition(": Input")[0] for line in done.stderr.splitlines()]
    assert told == [f"Error: {name}" for name in wrong]


@pytest.mark.parametrize(
    "words", ["check", "check --json", "projections", "policy", "openapi", "import films.json"]
)
def test_who_reads_no_further_is_told_of_no_breach(running: Path, words: str) -> None:
    """A pipe that is closed, as by ``| head``: the code is the signal's, and nobody complains."""
    (running / "films.json").write_text('[{"Title": "Ran"}, {"Title": "Ran"}]')
    reader, writer = os.pipe()
    os.close(reader)
    done = run(running, words.split(), {}, writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_pipe_to_somebody_else_that_breaks_is_no_reader_who_left() -> None:
    app = typer.Typer(cls=Commands)

    @app.command()
    def send() -> None:
        raise BrokenPipeError

    @app.command()
    def rest() -> None: ...

    assert isinstance(CliRunner().invoke(app, ["send"]).exception, BrokenPipeError)


def test_titles_are_told_whatever_the_terminals_encoding(tmp_path: Path) -> None:
    (tmp_path / "films.json").write_text('[{"Title": "Ran"}, {"Title": "Ran"}]')
    named = {"SEATHOLD_DATABASE_URL": NOBODY, "PYTHONIOENCODING": "latin-1"}
    done = seathold(tmp_path, "import", "films.json", **named)
    assert "“Ran” is the film of row 1" in done.stdout
    assert done.returncode == 2, "the database is away"
