"""Temporal's development server, found by a chain; always with a database file."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess  # nosec B404
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from contracts.booking import SEARCH_ATTRIBUTES
from seathold.stack.lock import exclusive
from seathold.stack.ports import LOOPBACK, answers
from seathold.stack.process import Child, StackError

MODULE = "github.com/temporalio/cli/cmd/temporal@v1.5.1"
SERVER_SETTINGS = (
    # On by default in this server: for each booking sixteen more reads of the store.
    "system.forceSearchAttributesCacheRefreshOnRead=false",
    # By default tasks go to four parts of a queue, and wait up to seconds in one where nobody asks.
    # All four are still read, for what an earlier start has put there.
    "matching.numTaskqueueWritePartitions=1",
)
DOWNLOAD_SECONDS = 60
BUILD_SECONDS = 1200
SAY_SECONDS = 15
# It says so in a tenth of a second; read from a slow disk for the first time it takes longer.
VERSION_SECONDS = 60
READY_SECONDS = 60
Say = Callable[[str], None]


def launch(
    binary: Path,
    folder: Path,
    *,
    port: int,
    ui_port: int | None,
    log: Path,
    namespaces: Sequence[str] = ("default",),
    pass_fds: Sequence[int] = (),
) -> Child:
    """Start it with its state under ``folder``; it accepts calls a moment later."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        *(str(binary), "server", "start-dev", "--ip", LOOPBACK, "--port", str(port)),
        *("--db-filename", str(folder / "temporal.sqlite"), "--log-level", "error"),
        *(("--ui-port", str(ui_port)) if ui_port else ("--headless",)),
    ]
    for namespace in namespaces:
        command += ["--namespace", namespace]
    for setting in SERVER_SETTINGS:
        command += ["--dynamic-config-value", setting]
    # The worker would add them too; what the server knows from its start need not be waited for.
    for key in SEARCH_ATTRIBUTES:
        command += ["--search-attribute", f"{key.name}={key.indexed_value_type.name.title()}"]
    return Child("temporal", command, log=log, ready=lambda: answers(port), pass_fds=pass_fds)


def find(say: Say) -> Path:
    """The first that works: our variable, PATH, the cache, the SDK's download, a Go build.

    Raises:
        StackError: none worked; the text names them all.
    """
    named = os.environ.get("SEATHOLD_TEMPORAL_CLI")
    if named:
        if not _works(named):
            raise StackError(f"SEATHOLD_TEMPORAL_CLI names {named}, which is no Temporal server.")
        return Path(named)
    on_path = shutil.which("temporal")
    if on_path and _works(on_path):
        return Path(on_path)
    try:
        cached = cache_folder() / "bin" / "temporal"
        if not _works(cached):
            _fetch(cached, say)
    except (OSError, RuntimeError) as error:
        raise StackError(
            f"The user's cache cannot keep the Temporal server: {str(error).rstrip('.')}."
            " Set XDG_CACHE_HOME to a folder of yours, or SEATHOLD_TEMPORAL_CLI to the `temporal`"
            " binary."
        ) from error
    return cached


def _works(binary: str | Path) -> bool:
    """Whether it says that it is one: a file may be damaged, another program bear the name."""
    try:
        told = subprocess.run(  # nosec B603
            [binary, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=VERSION_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.returncode == 0 and b"Server" in told.stdout


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "seathold"


def _fetch(target: Path, say: Say) -> None:
    """Bring it to ``target``; of two at once one works and the other waits."""
    with exclusive(
        target.parent / ".temporal.lock",
        seconds=DOWNLOAD_SECONDS + BUILD_SECONDS,
        on_wait=lambda: say("Another start is fetching the Temporal server; waiting for it …"),
    ):
        # Of a start that was killed half-way; whoever has the lock is alone here.
        for left in (*target.parent.glob("download.*"), *target.parent.glob("build.*")):
            shutil.rmtree(left)
        if not _works(target) and not _download(target, say) and not _build(target, say):
            raise StackError(
                "No Temporal server was found. Do one of these: set TEMPORAL_ADDRESS to a"
                " running server; set SEATHOLD_TEMPORAL_CLI to the `temporal` binary; put"
                " `temporal` on PATH; allow downloads from temporal.download; or install Go"
                f" (1.25 or newer) so that `go install {MODULE}` can build it."
            )


def _download(target: Path, say: Say) -> bool:
    """Let the SDK fetch its server; False where the network does not allow it."""
    from temporalio.testing import WorkflowEnvironment

    say("Fetching the Temporal server (once) …")

    async def fetch(folder: str) -> None:
        environment = await WorkflowEnvironment.start_local(download_dest_dir=folder)
        await environment.shutdown()

    with tempfile.TemporaryDirectory(prefix="download.", dir=target.parent) as folder:
        try:
            asyncio.run(asyncio.wait_for(fetch(folder), DOWNLOAD_SECONDS))
        except (RuntimeError, TimeoutError) as error:
            reason = (str(error) or "it took too long").splitlines()[0]
            say(f"  not possible here: {reason[:100]}")
            return False
        for fetched in Path(folder).rglob("*temporal*"):
            if fetched.is_file() and os.access(fetched, os.X_OK):
                fetched.rename(target)
                return True
    return False


def _build(target: Path, say: Say) -> bool:
    """Build it with Go, with a line that shows the time; False without Go or on failure."""
    go = shutil.which("go")
    if go is None:
        return False
    say(f"Building the Temporal server with Go (3 to 6 minutes, once): go install {MODULE}")
    log = target.parent / "temporal-build.log"
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="build.", dir=target.parent) as folder:
        env = {**os.environ, "GOBIN": folder}
        build = Child("go install", [go, "install", MODULE], log=log, env=env)
        try:
            _watch(build, began, say)
        finally:
            build.stop()
            # Its compilers, which a Go that is told to end leaves at work.
            with suppress(ProcessLookupError):
                os.killpg(build.pid, signal.SIGKILL)
        built = Path(folder) / "temporal"
        if not built.exists():
            say(f"  the build failed; see {log}")
            return False
        built.rename(target)
    say(f"  built in {time.monotonic() - began:.0f} s and kept in {target}")
    return True


def _watch(build: Child, began: float, say: Say) -> None:
    """Say every 15 seconds how long it has taken; returns with its end, or when it is too late."""
    said = began
    while build.is_running and time.monotonic() - began < BUILD_SECONDS:
        time.sleep(0.2)
        if time.monotonic() - said >= SAY_SECONDS:
            said = time.monotonic()
            say(f"  still building, {said - began:.0f} s …")
