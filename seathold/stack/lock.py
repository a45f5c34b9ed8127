"""A lock on a file: held until its holder and every process that inherited it are gone."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

POLL_SECONDS = 0.1


@contextmanager
def exclusive(path: Path, *, seconds: float, on_wait: Callable[[], None]) -> Iterator[int]:
    """Take the lock and give its descriptor; ``on_wait`` is called once if somebody has it.

    Raises:
        TimeoutError: somebody still has it after ``seconds``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + seconds
    with path.open("w") as file:
        if not _taken(file):
            on_wait()
        while not _taken(file):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{path} is locked")
            time.sleep(POLL_SECONDS)
        yield file.fileno()


def _taken(file: IO[str]) -> bool:
    """Whether it is ours now; asking again for a lock that we have is harmless."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
