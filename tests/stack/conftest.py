"""One stack for the tests that need nothing special of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from seathold.stack.stack import Stack


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stack") / "run"


@pytest.fixture(scope="module")
def stack(run_dir: Path) -> Iterator[Stack]:
    with pytest.MonkeyPatch.context() as patch:
        # The addresses of the tests' own servers would replace the stack's.
        for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
            patch.delenv(name)
        with Stack(run_dir, ports="auto", seed=False) as stack:
            yield stack
