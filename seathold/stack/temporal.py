"""Temporal's development server, found by a chain; always with a database file."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from seathold.stack.ports import LOOPBACK, answers
from seathold.stack.process import Child, StackError

MODULE = "github.com/temporalio/cli/cmd/temporal@v1.5.1"
SEARCH_ATTRIBUTES = (
    "ShowId=Keyword",
    "UserId=Keyword",
    "BookingStatus=Keyword",
    "HoldExpiresAt=Datetime",
)
DOWNLOAD_SECONDS = 60
BUILD_SECONDS = 1200
Say = Callable[[str], None]


def start(
    folder: Path,
    *,
    port: int,
    ui_port: int | None,
    log: Path,
    say: Say,
    namespaces: tuple[str, ...] = ("default",),
) -> Child:
    """Find the server, start it with its state under ``folder``, wait until it accepts calls."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        str(find(say)),
        *("server", "start-dev", "--ip", LOOPBACK, "--port", str(port)),
        *("--db-filename", str(folder / "temporal.sqlite"), "--log-level", "error"),
        *("--dynamic-config-value", "system.forceSearchAttributesCacheRefreshOnRead=true"),
        *(("--ui-port", str(ui_port)) if ui_port else ("--headless",)),
    ]
    for namespace in namespaces:
        command += ["--namespace", namespace]
    for attribute in SEARCH_ATTRIBUTES:
        command += ["--search-attribute", attribute]
    child = Child("temporal", command, log=log)
    child.wait_until(lambda: answers(port), seconds=60)
    return child


def find(say: Say) -> Path:
    """The first that works: our variable, PATH, the cache, the SDK's download, a Go build.

    Raises:
        StackError: none worked; the text names them all.
    """
    named = os.environ.get("SEATHOLD_TEMPORAL_CLI")
    if named:
        if not os.access(named, os.X_OK):
            raise StackError(f"SEATHOLD_TEMPORAL_CLI names {named}, which cannot be run.")
        return Path(named)
    on_path = shutil.which("temporal")
    if on_path:
        return Path(on_path)
    cached = cache_folder() / "bin" / "temporal"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(cached.parent / ".temporal.lock"):
            if not cached.exists() and not _download(cached, say) and not _build(cached, say):
                raise StackError(
                    "No Temporal server was found. Do one of these: set TEMPORAL_ADDRESS to a"
                    " running server; set SEATHOLD_TEMPORAL_CLI to the `temporal` binary; put"
                    " `temporal` on PATH; allow downloads from temporal.download; or install Go"
                    f" (1.25 or newer) so that `go install {MODULE}` can build it."
                )
    return cached


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "seathold"


class _only_one:
    """A lock on a file, so that two starts at once fetch one server."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _download(target: Path, say: Say) -> bool:
    """Let the SDK fetch its server; False where the network does not allow it."""
    say("Fetching the Temporal server (once) …")
    folder = target.parent / "download"
    folder.mkdir(exist_ok=True)

    async def fetch() -> None:
        from temporalio.testing import WorkflowEnvironment

        environment = await WorkflowEnvironment.start_local(download_dest_dir=str(folder))
        await environment.shutdown()

    try:
        asyncio.run(asyncio.wait_for(fetch(), DOWNLOAD_SECONDS))
    except (RuntimeError, TimeoutError) as error:
        say(
            f"  not possible here: {str(error).splitlines()[0][:100] if str(error) else 'time-out'}"
        )
        return False
    fetched = [
        found for found in folder.rglob("*") if found.is_file() and os.access(found, os.X_OK)
    ]
    if not fetched:
        return False
    fetched[0].rename(target)
    return True


def _build(target: Path, say: Say) -> bool:
    """Build it with Go, with a line that shows the time; False without Go or on failure."""
    go = shutil.which("go")
    if go is None:
        return False
    say(f"Building the Temporal server with Go (3 to 6 minutes, once): go install {MODULE}")
    folder = target.parent / f"build.{os.getpid()}"
    env = {**os.environ, "GOBIN": str(folder)}
    log = target.parent / "temporal-build.log"
    began = time.monotonic()
    with log.open("wb") as output:
        build = subprocess.Popen([go, "install", MODULE], env=env, stdout=output, stderr=output)
        for waited in _waiting(build, began):
            say(f"  still building, {waited:.0f} s …")
    if build.returncode != 0 or not (folder / "temporal").exists():
        say(f"  the build failed; see {log}")
        return False
    (folder / "temporal").rename(target)
    shutil.rmtree(folder, ignore_errors=True)
    say(f"  built in {time.monotonic() - began:.0f} s and kept in {target}")
    return True


def _waiting(build: subprocess.Popen[bytes], began: float) -> Iterator[float]:
    """Every 15 seconds, how long it has taken; ends with the build, or ends it."""
    while build.poll() is None:
        try:
            build.wait(15)
        except subprocess.TimeoutExpired:
            waited = time.monotonic() - began
            if waited > BUILD_SECONDS:
                build.kill()
            yield waited
