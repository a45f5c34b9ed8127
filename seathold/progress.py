"""How far a long command is."""

from __future__ import annotations

import time
from collections.abc import Callable

EVERY_SECONDS = 10.0
HOW_MANY = "SELECT count(*) AS events FROM events"

Say = Callable[[str], None]


class Progress:
    """Says every ten seconds how many of all events are done; of short work it says nothing."""

    def __init__(self, total: int, say: Say) -> None:
        self._total = total
        self._say = say
        self._done = 0
        self._said_at = time.monotonic()

    def add(self, count: int) -> None:
        self._done += count
        if time.monotonic() - self._said_at >= EVERY_SECONDS:
            self._said_at = time.monotonic()
            self._say(f"... {self._done:,} of {self._total:,} events")
