"""``seathold dev``: side by side, started again, and never a process left behind."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import stat
import subprocess
from pathlib import Path

import httpx2
import psycopg
import pytest
from temporalio.client import Client

from infra.temporal_polls import are_polled
from seathold import dev
from seathold.stack import foreground, secrets
from seathold.stack.process import StackError
from seathold.stack.stack import Stack
from tests.helpers.accounts import PASSWORD, new_email
from tests.stack.command import running, wait_for

# In a namespace of its own root is an account like any other, which its programs can still read.
NOT_ROOT = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
FIELDS = {
    "api_url",
    "web_url",
    "temporal_address",
    "temporal_namespace",
    "temporal_ui_url",
    "database_url",
    "migrate_database_url",
    "redis_url",
    "sandbox_url",
    "mail_url",
    "codec_url",
    "webhook_secret",
    "admin",
    "processes",
}
PARTS = {"api", "worker", "postgres", "redis", "temporal", "sandbox", "mail", "codec"}


def test_two_stacks_run_side_by_side_and_end_on_ctrl_c_and_sigterm(tmp_path: Path) -> None:
    with (
        running(tmp_path / "one", "--no-seed") as one,
        running(tmp_path / "two", "--no-seed") as two,
    ):
        # Both asked for the usual ports: the second took the next that were free.
        assert one.ports().isdisjoint(two.ports())

        assert one.send(signal.SIGINT) == 0
        wait_for(lambda: not one.left())
        assert not (tmp_path / "one" / "dev.json").exists()
        assert two.answers("/readyz")

        assert two.send(signal.SIGTERM) == 0
        wait_for(lambda: not two.left())
        assert not (tmp_path / "two" / "dev.json").exists()


def test_killing_the_starter_leaves_nothing_running_and_all_data(tmp_path: Path) -> None:
    run_dir = tmp_path / "stack"
    with running(run_dir, "--ports", "auto", "--no-seed") as dev:
        with psycopg.connect(dev.info["migrate_database_url"], autocommit=True) as database:
            database.execute("CREATE TABLE kept ()")
        admin = dev.info["admin"]
        assert len(dev.remember_everyone()) >= len(PARTS)
        dev.send(signal.SIGKILL)
        # The next start waits by itself for what is still ending.
        with running(run_dir, "--ports", "auto", "--no-seed") as again:
            assert not dev.left()
            assert again.info["admin"] == admin
            with psycopg.connect(again.info["migrate_database_url"]) as database:
                database.execute("TABLE kept")


def may_become_another() -> bool:
    if shutil.which(NOT_ROOT[0]) is None:
        return False
    return subprocess.run([*NOT_ROOT, "true"], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="all of these tests are not root's")
@pytest.mark.skipif(not may_become_another(), reason="no user namespaces on this machine")
def test_a_stack_starts_for_an_account_that_is_not_root(tmp_path: Path) -> None:
    with running(tmp_path / "run", "--ports", "auto", "--no-seed", run_by=NOT_ROOT) as dev:
        assert dev.answers("/readyz")
        assert dev.send(signal.SIGINT) == 0
        wait_for(lambda: not dev.left())


def test_dev_json_is_private_and_whole(stack: Stack, run_dir: Path) -> None:
    assert stat.S_IMODE((run_dir / "dev.json").stat().st_mode) == 0o600
    assert FIELDS <= stack.info.keys()
    assert stack.info["processes"].keys() == PARTS


def test_mailed_links_lead_to_the_stack_that_mailed_them(stack: Stack) -> None:
    email, api = new_email(), str(stack.info["api_url"])
    body = {"email": email, "password": PASSWORD, "name": "Ada"}
    httpx2.post(f"{api}/api/auth/register", json=body).raise_for_status()
    inbox = f"{stack.info['mail_url']}/api/messages"

    def mails() -> list[dict[str, str]]:
        return list(httpx2.get(inbox, params={"to": email}).json()["items"])

    wait_for(lambda: len(mails()) == 1)
    assert f"{api}/account/verify#" in mails()[0]["text"]


@pytest.mark.parametrize("name", ["api-0", "worker-0", "redis"])
def test_what_died_is_started_again(stack: Stack, name: str) -> None:
    before = stack.children[name].pid
    stack.kill(name)

    def tended() -> bool:
        stack.tend()
        return stack.children[name].pid != before

    wait_for(tended)
    stack.children[name].wait_ready(seconds=60)
    role = name.partition("-")[0]
    told = stack.info["processes"][role]
    assert told in (stack.children[name].pid, [stack.children[name].pid])


async def test_a_worker_that_is_ready_asks_for_tasks(stack: Stack) -> None:
    stack.stop("worker-0")
    stack.start("worker-0")
    temporal = await Client.connect(stack.info["temporal_address"])
    assert await are_polled(temporal, f"{stack.children['worker-0'].pid}@{socket.gethostname()}")


def test_a_stack_is_not_up_without_its_worker(stack: Stack, tmp_path: Path) -> None:
    """Of a namespace that is not there the API needs nothing to be ready."""
    given = {
        "TEMPORAL_ADDRESS": stack.info["temporal_address"],
        "TEMPORAL_NAMESPACE": "not-there",
    }
    with (
        pytest.raises(StackError, match="worker-0 ended at once"),
        Stack(tmp_path / "run", ports="auto", seed=False, env=given),
    ):
        pytest.fail("it was up")
    assert not (tmp_path / "run" / "dev.json").exists()


def test_a_folder_that_cannot_be_written_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    taken = tmp_path / "file" / "run"
    with pytest.raises(StackError, match=r"run cannot be written \(Not a directory\): give --run"):
        Stack(taken).__enter__()


@pytest.mark.parametrize("kept", ["{", "[1]", "null"])
def test_secrets_that_are_damaged_are_never_made_anew(tmp_path: Path, kept: str) -> None:
    """The data beside them would open to none of the new ones."""
    (tmp_path / "secrets.json").write_text(kept)
    with pytest.raises(StackError, match=r"secrets\.json cannot be read .*: put it back, or del"):
        Stack(tmp_path, ports="auto").__enter__()
    assert (tmp_path / "secrets.json").read_text() == kept


def test_a_full_disk_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(secrets, "write_private", full)
    monkeypatch.setattr(foreground, "SIGNALS", ())  # they are pytest's
    assert dev.main(tmp_path / "run", "auto", seed=False) == 1
    assert capsys.readouterr().err == "Error: [Errno 28] No space left on device.\n"


def test_what_was_stopped_stays_so_until_it_is_started(stack: Stack) -> None:
    stack.stop("mail")
    stack.tend()
    assert not stack.children["mail"].is_running
    stack.start("mail")
    assert stack.children["mail"].is_running
