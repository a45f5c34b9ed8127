"""The pieces a stack is made of, one by one."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from pydantic import ValidationError

from infra.settings import refusals
from seathold.stack import ports, postgres, temporal, valkey
from seathold.stack.lock import exclusive
from seathold.stack.plan import Plan
from seathold.stack.process import Child, StackError
from tests.stack.command import CLEAN, ROOT, is_zombie, wait_for

# In full: one of the tests takes PATH away.
COPY, MOVE = shutil.which("cp"), shutil.which("mv")
STARTER = """
import sys, time
from pathlib import Path
from seathold.stack.process import Child
child = Child("sleeper", ["/bin/sleep", "600"], log=Path(sys.argv[1]))
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_taken_port_gives_the_next_free_one() -> None:
    with socket.socket() as taken:
        taken.bind((ports.LOOPBACK, 0))
        usual = taken.getsockname()[1]
        if usual < 65_000:
            with ports.reserve(usual, "default", set()) as held:
                assert usual < ports.port_of(held) < usual + ports.TRIES


def test_a_port_is_given_out_once() -> None:
    with socket.socket() as free:
        free.bind((ports.LOOPBACK, 0))
        usual = free.getsockname()[1]
    with ports.reserve(usual, "default", {usual}) as held:
        assert ports.port_of(held) != usual


def test_of_two_stacks_that_start_at_once_each_gets_a_port_of_its_own() -> None:
    """Neither has a server there yet."""
    with socket.socket() as free:
        free.bind((ports.LOOPBACK, 0))
        usual = free.getsockname()[1]
    with (
        ports.reserve(usual, "default", set()) as one,
        ports.reserve(usual, "default", set()) as other,
    ):
        assert ports.port_of(one) != ports.port_of(other)


def test_where_every_port_is_taken_one_sentence_names_the_fix() -> None:
    every = set(range(20_000, 20_000 + ports.TRIES))
    with pytest.raises(StackError, match=r"20000 to 20049 is free: .*`seathold dev --ports auto`"):
        ports.reserve(20_000, "default", every)


def test_a_reserved_port_is_for_its_server_alone() -> None:
    with ports.reserve(0, "auto", set()) as held, socket.socket() as stranger:
        port = ports.port_of(held)
        with pytest.raises(OSError, match="in use"):
            stranger.bind((ports.LOOPBACK, port))
        assert not ports.answers(port)
        for _ in range(2):  # and once more when the server has to be started again
            with ports.listening_socket(port):
                assert ports.answers(port)


@pytest.mark.parametrize("kept", [True, False])
def test_whoever_asks_for_any_port_never_gets_a_reserved_one(kept: bool) -> None:
    """A port that was only looked for goes to the next who asks, before its server starts."""
    given_twice = 0
    with ExitStack() as stack:
        reserved = set()
        for _ in range(200):
            held = stack.enter_context(ports.reserve(0, "auto", set()))
            reserved.add(ports.port_of(held))
            if not kept:
                held.close()
        for number in range(2_000):
            other = stack.enter_context(socket.socket())
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, number % 2)
            other.bind((ports.LOOPBACK, 0))
            given_twice += ports.port_of(other) in reserved
    assert (given_twice == 0) is kept


def test_a_child_ends_with_a_starter_that_is_killed(tmp_path: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path / "log")],
        cwd=ROOT,
        env=CLEAN,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    child = psutil.Process(int(starter.stdout.readline()))
    starter.kill()
    starter.communicate()
    wait_for(lambda: not child.is_running() or is_zombie(child))


def test_a_part_that_ends_at_once_tells_its_last_words(tmp_path: Path) -> None:
    child = Child(
        "part",
        ["/bin/sh", "-c", "echo no such file; exit 3"],
        log=tmp_path / "log",
        ready=lambda: False,
    )
    with pytest.raises(StackError, match=r"part ended at once.*\n.*no such file"):
        child.wait_ready(seconds=10)


def test_postgres_starts_below_a_closed_folder_and_needs_its_password(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    # What a start that was killed halfway leaves behind.
    (closed / "data.new").mkdir()
    (closed / "data.new" / "PG_VERSION").touch()
    held = ports.reserve(0, "auto", set())
    port = ports.port_of(held)
    child = postgres.launch(closed / "data", port=port, password="right", log=tmp_path / "log")
    try:
        child.wait_ready(seconds=60)
        with psycopg.connect(postgres.database_url(port, "right")) as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(postgres.database_url(port, "wrong"))
        if os.geteuid() == 0:
            assert psutil.Process(child.pid).uids().real != 0
    finally:
        child.stop()
        held.close()
    assert sorted(path.name for path in closed.iterdir()) == ["data"]


def test_redis_keeps_nothing_for_another_day(tmp_path: Path) -> None:
    """By an old snapshot what was sold after it would look free."""
    folder = tmp_path / "redis"
    with ports.reserve(0, "auto", set()) as held:
        port = ports.port_of(held)
        server = valkey.launch(folder, port=port, log=tmp_path / "log")
        try:
            server.wait_ready(seconds=valkey.READY_SECONDS)
            with redis.Redis(port=port) as client:
                client.set("a", "b")
            server.ask_to_end()
            wait_for(lambda: not server.is_running, seconds=10)
            assert list(folder.iterdir()) == []
        finally:
            server.stop(seconds=0)


def test_root_without_an_account_for_postgres_is_told_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", {}.__getitem__)
    with pytest.raises(StackError, match="`nobody` for it: add that .*SEATHOLD_DATABASE_URL"):
        postgres.launch(tmp_path / "data", port=1, password="any", log=tmp_path / "log")


def test_an_account_without_a_name_is_told_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_242)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    with pytest.raises(StackError, match=r"4242 has none: start as .*SEATHOLD_DATABASE_URL"):
        postgres.launch(tmp_path / "data", port=1, password="any", log=tmp_path / "log")


@pytest.mark.parametrize(
    ("name", "value"),
    [("API_WORKERS", "two"), ("WORKER_PROCESSES", "0"), ("ORPHAN_RULE", "strict")],
)
def test_a_setting_that_makes_no_sense_is_named_before_anything_starts(
    tmp_path: Path, name: str, value: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        plan(tmp_path, {f"SEATHOLD_{name}": value})
    [told] = refusals(refused.value)
    assert told.startswith(f"SEATHOLD_{name}: Input should be")


def test_as_many_processes_start_as_the_settings_say(tmp_path: Path) -> None:
    wanted = plan(tmp_path, {"SEATHOLD_API_WORKERS": "2", "SEATHOLD_WORKER_PROCESSES": "3"})
    assert wanted.apis == ["api-0", "api-1"]
    assert wanted.workers == ["worker-0", "worker-1", "worker-2"]


def plan(folder: Path, extra: dict[str, str]) -> Plan:
    made = Plan(folder, policy="auto", extra=extra, lock=0, say=print)
    made.close()
    return made


def test_a_lock_is_held_by_whoever_inherited_it(tmp_path: Path) -> None:
    path, waited = tmp_path / "lock", [0]
    with exclusive(path, seconds=1, on_wait=lambda: None) as descriptor:
        heir = Child("heir", ["/bin/sleep", "600"], log=tmp_path / "log", pass_fds=[descriptor])

    def heir_ends() -> None:
        waited[0] += 1
        heir.kill()

    with exclusive(path, seconds=10, on_wait=heir_ends):
        assert waited == [1]


def test_a_held_lock_is_refused_in_time(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        exclusive(path, seconds=1, on_wait=lambda: None),
        pytest.raises(TimeoutError),
        exclusive(path, seconds=0.1, on_wait=lambda: None),
    ):
        pytest.fail("taken twice")


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any Temporal, Go or network; its cache folder."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SEATHOLD_TEMPORAL_CLI", raising=False)
    monkeypatch.setattr(temporal, "_download", lambda target, say: False)
    return tmp_path / "cache" / "seathold"


def executable(path: Path, script: str = "echo 'temporal version 1 (Server 1.29)'") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)
    return path


def test_the_chain_prefers_our_variable_then_path_then_the_cache(
    nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = executable(nowhere / "bin" / "temporal")
    assert temporal.find(print) == cached
    on_path = executable(tmp_path / "bin" / "temporal")
    assert temporal.find(print) == on_path
    named = executable(tmp_path / "named")
    monkeypatch.setenv("SEATHOLD_TEMPORAL_CLI", str(named))
    assert temporal.find(print) == named


def test_go_builds_the_server_into_the_cache_once(nowhere: Path, tmp_path: Path) -> None:
    builds = tmp_path / "builds"
    ready = executable(tmp_path / "ready")
    executable(tmp_path / "bin" / "go", f'echo built >> {builds}\n{COPY} {ready} "$GOBIN/temporal"')
    # What is left of a damaged disk is none, nor is half a download of a start that was killed.
    executable(nowhere / "bin" / "download.dead" / "temporal")
    (nowhere / "bin" / "temporal").write_bytes(b"\x7fELF")
    said: list[str] = []
    for _ in range(2):
        assert temporal.find(said.append) == nowhere / "bin" / "temporal"
    assert builds.read_text() == "built\n"
    assert any("3 to 6 minutes" in line for line in said)
    assert sorted(path.name for path in (nowhere / "bin").iterdir() if path.is_dir()) == []


def test_another_program_of_the_name_is_passed_over(nowhere: Path, tmp_path: Path) -> None:
    executable(tmp_path / "bin" / "temporal", "echo unknown command; exit 1")
    cached = executable(nowhere / "bin" / "temporal")
    assert temporal.find(print) == cached


def test_a_build_that_is_given_up_leaves_no_compiler_at_work(
    nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, compilers = tmp_path / "compiler", list[psutil.Process]()
    script = f"/bin/sleep 600 &\necho $! > {told}.part\n{MOVE} {told}.part {told}\nwait"
    executable(tmp_path / "bin" / "go", script)

    def given_up(*_: object) -> None:
        wait_for(told.exists)
        compilers.append(psutil.Process(int(told.read_text())))
        raise KeyboardInterrupt

    monkeypatch.setattr(temporal, "_watch", given_up)
    with pytest.raises(KeyboardInterrupt):
        temporal.find(print)
    wait_for(lambda: not compilers[0].is_running() or is_zombie(compilers[0]))


def test_a_cache_that_cannot_be_written_is_said_in_one_sentence(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc")
    with pytest.raises(StackError, match=r"server: .*'/proc/seathold'\. Set XDG_CACHE_HOME"):
        temporal.find(print)


def test_no_server_anywhere_names_every_way_to_one(nowhere: Path) -> None:
    with pytest.raises(StackError) as refused:
        temporal.find(print)
    for way in ("TEMPORAL_ADDRESS", "SEATHOLD_TEMPORAL_CLI", "PATH", "download", "go install"):
        assert way in str(refused.value)


def test_a_variable_that_names_nothing_runnable_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for named in (tmp_path / "gone", tmp_path):
        monkeypatch.setenv("SEATHOLD_TEMPORAL_CLI", str(named))
        with pytest.raises(StackError, match="SEATHOLD_TEMPORAL_CLI"):
            temporal.find(print)


def test_an_old_python_is_refused_with_one_sentence(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "uv.lock"):
        (tmp_path / name).touch()
    made = subprocess.run(
        ["make", "-f", str(ROOT / "Makefile"), "setup", "PYTHON=false"],
        cwd=tmp_path,
        env=CLEAN,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode != 0
    assert made.stdout.count("\n") == 1
    assert "Python 3.11 or newer" in made.stdout


@pytest.mark.parametrize("runner_name", ["make", "uv"])
def test_a_command_ends_with_the_runner_that_is_killed(tmp_path: Path, runner_name: str) -> None:
    """A runner cannot pass ``kill -9`` on: the command sees it by itself and ends in order."""
    runner = tmp_path / runner_name
    runner.symlink_to("/bin/bash")
    script = (
        "import sys, time; from seathold.stack.foreground import in_foreground\n"
        "def work():\n"
        # Inside the `try`: the end may come in the very moment the line is out.
        "    try:\n"
        "        print('up', flush=True)\n"
        "        time.sleep(600)\n"
        "    finally: print('ended in order', flush=True)\n"
        "sys.exit(in_foreground(work))"
    )
    # The `;` keeps bash from replacing itself by the command.
    shell = f'"{sys.executable}" -c "$1"; true'
    process = subprocess.Popen(
        [str(runner), "-c", shell, "shell", script],
        cwd=ROOT,
        env=CLEAN,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGKILL)
    assert process.communicate(timeout=20)[0] == "ended in order\n"
