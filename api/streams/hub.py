"""All watchers of one show in this process: one look for all of them, one message for all."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable

import structlog

from api.hot.document import Document
from api.streams.events import HEARTBEAT, SeatLog
from api.streams.watcher import Watcher, chunk

# At most one change a second, however fast the seats go.
PACE_SECONDS = 1.0
# Without news PostgreSQL is still asked this often; it alone is believed.
POLL_SECONDS = 5.0
DEAF_POLL_SECONDS = 1.0
HEARTBEAT_SECONDS = 10.0
# Other requests get their turn in between.
BATCH = 500

log = structlog.get_logger(__name__)

# The seats as they are, not as they were at the given moment; None when the show is gone.
Look = Callable[[int], Awaitable[Document | None]]


class Hub:
    """``look`` reads the seats; ``is_live`` says whether news comes in.

    ``left`` is told the address of each reader that is gone.
    """

    def __init__(
        self,
        document: Document,
        look: Look,
        is_live: Callable[[], bool],
        left: Callable[[str], None],
    ) -> None:
        self._look = look
        self._is_live = is_live
        self._left = left
        self._read_at = document.read_at
        self._log = SeatLog(document.plain.body)
        # The event that was framed last, and its chunk: most who lack something lack the same.
        self._framed = (HEARTBEAT, chunk(HEARTBEAT))
        self._watchers: set[Watcher] = set()
        self._woken = asyncio.Event()
        self._told_at = -math.inf

    def __len__(self) -> int:
        return len(self._watchers)

    @property
    def version(self) -> int:
        return self._log.version

    def enter(self, watcher: Watcher) -> None:
        """It is counted from now on, so that the hub does not end, and told nothing yet."""
        self._watchers.add(watcher)

    async def reach(self, version: int) -> None:
        """Look anew if a reader has seen more in another process; the others keep their pace."""
        if version > self.version:
            await self._paced()
        if version > self.version:
            await self._refresh()

    def begin(self, watcher: Watcher, last_event_id: int | None) -> None:
        """Tell it what it lacks; from then on it is told every change.

        Raises:
            ConnectionError: it has left meanwhile.
        """
        watcher.take_over()
        watcher.tell(chunk(retry_line()), self.version)
        watcher.tell(self._since(last_event_id), self.version)

    def catch_up(self, watcher: Watcher) -> None:
        """It takes something again: tell it where things are now. Nothing was queued."""
        if watcher.version != self.version:
            watcher.tell(self._since(watcher.version), self.version)

    def leave(self, watcher: Watcher) -> None:
        if watcher in self._watchers:
            self._watchers.remove(watcher)
            self._left(watcher.address)

    def wake(self) -> None:
        """Seats have changed hands, or may have."""
        self._woken.set()

    def end(self) -> None:
        """The process stops: the readers come back to another."""
        for watcher in self._watchers:
            watcher.end()

    async def run(self) -> None:
        """Tell the watchers what changes, until there is none."""
        clock = asyncio.get_running_loop().time
        beaten_at, was_woken = clock(), False
        while True:
            # A read that was under way when the news came may lack it: look once more.
            was_woken = await self._woken_within(PACE_SECONDS if was_woken else self._poll_seconds)
            if not self._watchers:
                return
            await self._paced()
            self._woken.clear()
            if await self._refresh():
                continue
            if clock() - max(beaten_at, self._told_at) >= HEARTBEAT_SECONDS:
                beaten_at = clock()
                await self._tell(HEARTBEAT, self.version)

    def _since(self, version: int | None) -> bytes:
        event = self._log.since(version)
        if event is not self._framed[0]:
            self._framed = (event, chunk(event))
        return self._framed[1]

    @property
    def _poll_seconds(self) -> float:
        return POLL_SECONDS if self._is_live() else DEAF_POLL_SECONDS

    async def _woken_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True

    async def _paced(self) -> None:
        """Wait until a change may be told again."""
        rest = self._told_at + PACE_SECONDS - asyncio.get_running_loop().time()
        if rest > 0:
            await asyncio.sleep(rest)
            # Somebody else who waited may have told one.
            await self._paced()

    async def _refresh(self) -> bool:
        """Look, and tell everybody what is new; whether anything is."""
        try:
            document = await self._look(self._read_at + 1)
        except Exception as error:  # noqa: BLE001 -- the next look may do better
            log.warning("seats_not_read", error=type(error).__name__)
            return False
        if document is None:
            return False
        self._read_at = document.read_at
        before = self.version
        step = self._log.advance(document.plain.body)
        if step is None:
            return False
        clock = asyncio.get_running_loop().time
        # From now on nobody else tells one, and the pace counts from when everybody has it.
        self._told_at = clock()
        await self._tell(step, before)
        self._told_at = clock()
        return True

    async def _tell(self, event: bytes, before: int) -> None:
        """Send ``event`` to all who are where it begins; who is behind catches up when it reads."""
        message, after = chunk(event), self.version
        for number, watcher in enumerate(list(self._watchers), start=1):
            if number % BATCH == 0:
                await asyncio.sleep(0)
            if watcher.is_behind:
                continue
            if watcher.version == before:
                watcher.tell(message, after)
            else:
                self.catch_up(watcher)


def retry_line() -> bytes:
    """When to come back after a lost connection; not all at the same moment."""
    return b"retry: %d\n\n" % random.randint(1000, 5000)  # nosec B311
