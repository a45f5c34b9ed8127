"""Stripe's own stand-in: it checks requests against Stripe's OpenAPI and remembers nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from seathold.stack.lock import exclusive
from seathold.stack.ports import LOOPBACK, answers
from seathold.stack.process import Child, StackError
from seathold.stack.temporal import cache_folder
from tests.sandbox.process import free_port

MODULE = "github.com/stripe/stripe-mock@v0.203.0"
NAMED = "SEATHOLD_TEST_STRIPE_MOCK"
# What must pass before anything lands sets it; a machine without Go runs the rest of the tests.
REQUIRED = "SEATHOLD_TEST_STRIPE_MOCK_REQUIRED"
BUILD_SECONDS = 300
READY_SECONDS = 20


@contextmanager
def running_stripe_mock(folder: Path) -> Iterator[str]:
    """Its URL, once it answers; it is ended afterwards.

    Where there is none and none can be built the test is skipped, and says how to get one; it
    fails where ``REQUIRED`` is set.
    """
    try:
        program = find()
    except StackError as missing:
        if REQUIRED in os.environ:
            raise
        pytest.skip(str(missing))
    port = free_port()
    child = Child(
        "stripe-mock",
        # Without an address it would take a fixed port for HTTPS.
        [str(program), "-http-addr", f"{LOOPBACK}:{port}", "-https-addr", f"{LOOPBACK}:"],
        log=folder / "stripe-mock.log",
        ready=lambda: answers(port),
    )
    try:
        child.wait_ready(seconds=READY_SECONDS)
        yield f"http://{LOOPBACK}:{port}"
    finally:
        child.stop()


def find() -> Path:
    """Our variable, PATH, the cache, a Go build that is kept there.

    Raises:
        StackError: none of them has it.
    """
    found = os.environ.get(NAMED) or shutil.which("stripe-mock")
    if found:
        return Path(found)
    cached = cache_folder() / "bin" / "stripe-mock"
    if not cached.exists():
        lock = cached.parent / ".stripe-mock.lock"
        with exclusive(lock, seconds=BUILD_SECONDS, on_wait=lambda: None):
            if not cached.exists():
                _build(cached)
    return cached


def _build(target: Path) -> None:
    go, why = shutil.which("go"), "there is no Go here"
    with tempfile.TemporaryDirectory(prefix="build.", dir=target.parent) as folder:
        try:
            if go is not None:
                subprocess.run(
                    [go, "install", MODULE],
                    env={**os.environ, "GOBIN": folder},
                    timeout=BUILD_SECONDS,
                    capture_output=True,
                    check=True,
                )
                (Path(folder) / "stripe-mock").rename(target)
                return
        except (subprocess.SubprocessError, OSError) as error:
            said = getattr(error, "stderr", None) or b""
            why = f"{error} {said.decode(errors='replace').strip()[-500:]}".strip()
    raise StackError(
        "The tests of the Stripe adapter need stripe-mock, and there is none: put it on PATH, name"
        f" it in {NAMED}, or let `go install {MODULE}` build it, which failed: {why}."
    )
