"""All watchers of one show in this process: one look for all of them, one message for all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from api.hot.document import Document
from api.streams.events import HEARTBEAT, SeatLog
from api.streams.watcher import THE_END, Message, Watcher, chunk

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
    """``look`` reads the seats; ``is_live`` says whether news comes in."""

    def __init__(self, document: Document, look: Look, is_live: Callable[[], bool]) -> None:
        self._look = look
        self._is_live = is_live
        self._read_at = document.read_at
        self._log = SeatLog(document.plain.body)
        self._watchers: set[Watcher] = set()
        self._catching_up: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()

    def __len__(self) -> int:
        return len(self._watchers)

    @property
    def version(self) -> int:
        return self._log.version

    async def join(self, watcher: Watcher, start: Message, last_event_id: int | None) -> None:
        """Begin the answer with what the reader lacks; from then on it is told every change."""
        # Counted from now on, so that the hub does not end; told nothing before its answer begins.
        watcher.is_behind = True
        self._watchers.add(watcher)
        if last_event_id is not None and last_event_id > self.version:
            # It has seen more in another process.
            await self._refresh()
        await watcher.send(start)
        watcher.version = self.version
        await watcher.send(chunk(retry_line() + self._log.since(last_event_id)))
        watcher.is_behind = False
        if watcher.version != self.version:
            self._catch_up(watcher)

    def leave(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)

    def wake(self) -> None:
        """Seats have changed hands, or may have."""
        self._woken.set()

    def end(self) -> None:
        """The process stops: the readers come back to another."""
        for watcher in self._watchers:
            watcher.offer(THE_END)

    async def run(self) -> None:
        """Tell the watchers what changes, until there is none."""
        clock = asyncio.get_running_loop().time
        told_at, was_woken = clock(), False
        while True:
            # A read that was under way when the news came may lack it: look once more.
            was_woken = await self._woken_within(PACE_SECONDS if was_woken else self._poll_seconds)
            if not self._watchers:
                return
            if await self._refresh():
                told_at = clock()
                await asyncio.sleep(PACE_SECONDS)
            elif clock() - told_at >= HEARTBEAT_SECONDS:
                told_at = clock()
                await self._tell(HEARTBEAT, self.version)

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

    async def _refresh(self) -> bool:
        """Look, and tell everybody what is new; whether anything is."""
        try:
            document = await self._look(self._read_at + 1)
        except Exception as error:  # noqa: BLE001 -- the next look may do better
            log.warning("seats_not_read", error=type(error).__name__)
            return False
        if document is None:
            return False
        self._read_at = max(self._read_at, document.read_at)
        before = self.version
        step = self._log.advance(document.plain.body)
        if step is not None:
            await self._tell(step, before)
        return step is not None

    async def _tell(self, event: bytes, before: int) -> None:
        """Send ``event`` to all who are where it begins; the others catch up by themselves."""
        message, after = chunk(event), self.version
        for number, watcher in enumerate(list(self._watchers), start=1):
            if number % BATCH == 0:
                await asyncio.sleep(0)
            if watcher.is_behind:
                continue
            if watcher.version == before and watcher.offer(message):
                watcher.version = after
            else:
                self._catch_up(watcher)

    def _catch_up(self, watcher: Watcher) -> None:
        task = asyncio.create_task(self._bring_up_to_date(watcher))
        self._catching_up.add(task)
        task.add_done_callback(self._catching_up.discard)

    async def _bring_up_to_date(self, watcher: Watcher) -> None:
        """As soon as the reader reads again, tell it where things are then: nothing was queued."""
        watcher.is_behind = True
        try:
            while watcher in self._watchers:
                await watcher.wait_until_it_reads()
                version = self.version
                if watcher.version == version:
                    break
                await watcher.send(chunk(self._log.since(watcher.version)))
                watcher.version = version
        except TimeoutError:
            log.info("watcher_cut")
            watcher.cut()
        finally:
            watcher.is_behind = False


def retry_line() -> bytes:
    """When to come back after a lost connection; not all at the same moment."""
    return b"retry: %d\n\n" % random.randint(1000, 5000)
