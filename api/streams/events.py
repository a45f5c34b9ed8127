"""A show's seats as events of a stream: where they stand, and what has changed since."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import dropwhile

import orjson

AVAILABLE = "available"
# A reader that lost its connection for a minute is told what it missed, not everything again.
KEPT_DELTAS = 60
# Above this the steps are sent only while they are shorter than a snapshot.
SMALL_BYTES = 16 * 1024
HEARTBEAT = b":\n\n"


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """The seats whose state is another; what is not named in ``new`` is available again."""
    changed = {label: state for label, state in new.items() if old.get(label) != state}
    freed = {label: AVAILABLE for label in old if label not in new}
    return {**changed, **freed}


class SeatLog:
    """The newest state of a show's seats and the last steps to it.

    A version stands for exactly one state of the seats, so a reader at version v needs nothing but
    the steps from v on.
    """

    def __init__(self, body: bytes) -> None:
        self._read(body)
        self._steps: deque[tuple[int, bytes]] = deque(maxlen=KEPT_DELTAS)

    def _read(self, body: bytes) -> None:
        content = orjson.loads(body)
        self._body = body
        self._seats: dict[str, str] = content["seats"]
        self.version: int = content["version"]
        self._snapshot: bytes | None = None

    def advance(self, body: bytes) -> bytes | None:
        """The event that leads from what was known to ``body``; None if that is no newer."""
        before, seats = self.version, self._seats
        if body == self._body or orjson.loads(body)["version"] <= before:
            return None
        self._read(body)
        delta = {"version": self.version, "seats": differences(seats, self._seats)}
        step = b"event: delta\nid: %d\ndata: %b\n\n" % (self.version, orjson.dumps(delta))
        self._steps.append((before, step))
        return step

    def since(self, version: int | None) -> bytes:
        """The steps from ``version`` to now, or a snapshot if that is less."""
        if version == self.version:
            return HEARTBEAT
        left = dropwhile(lambda one: one[0] != version, self._steps)
        steps = b"".join(step for _, step in left)
        return steps if 0 < len(steps) <= max(SMALL_BYTES, len(self._body)) else self.snapshot()

    def snapshot(self) -> bytes:
        """The same object for all, so that a crowd of slow readers holds one."""
        if self._snapshot is None:
            self._snapshot = b"event: snapshot\nid: %d\ndata: %b\n\n" % (self.version, self._body)
        return self._snapshot
