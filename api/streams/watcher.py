"""One reader of a stream: its connection, and which version it was sent last. Nothing is queued."""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol

from starlette.types import Send

# A reader that takes nothing for so long is gone, whatever its connection says.
PATIENCE_SECONDS = 30.0
THE_END = b"0\r\n\r\n"


def chunk(event: bytes) -> bytes:
    """As HTTP/1.1 frames a part of an answer; made once for all who are sent it."""
    return b"%x\r\n%b\r\n" % (len(event), event)


def connection_of(send: Send) -> asyncio.Transport | None:
    """The server's transport, which ASGI has no word for; None where nothing is between us."""
    cycle = getattr(send, "__self__", None)
    return getattr(cycle, "transport", None)


class Crowd(Protocol):
    """Where a watcher belongs."""

    def catch_up(self, watcher: Watcher) -> None:
        """It reads again."""

    def leave(self, watcher: Watcher) -> None:
        """It is gone."""


class Watcher(asyncio.Protocol):
    """What is left of a request whose answer has no end: the server's own objects are let go.

    ``version``: what it was sent last; ``is_behind`` while it takes nothing: before its answer has
    begun, when its buffer is full, and once it is gone.
    """

    __slots__ = ("_crowd", "_patience", "_transport", "address", "is_behind", "version")

    def __init__(self, transport: asyncio.Transport, crowd: Crowd, address: str) -> None:
        self._transport = transport
        self._crowd = crowd
        self._patience: asyncio.TimerHandle | None = None
        self.address = address
        self.version = 0
        self.is_behind = True

    def take_over(self) -> None:
        """The connection is ours from here on; for the server it is as good as lost.

        Raises:
            ConnectionError: the reader has left.
        """
        if self._transport.is_closing():
            raise ConnectionAbortedError("the reader has left")
        server = self._transport.get_protocol()
        self._transport.set_protocol(self)
        # So it waits for nothing any more, neither at its end nor in the request's task.
        server.connection_lost(ConnectionAbortedError("taken over by its stream"))
        self._end_if_silent()
        self.is_behind = False

    def tell(self, told: bytes, version: int) -> None:
        """Send chunks that bring the reader to ``version``; only while it is not behind."""
        self.version = version
        self._transport.write(told)

    def end(self) -> None:
        """The answer is over; who does not read is not waited for."""
        if self.is_behind:
            self._transport.abort()
        else:
            self._transport.write(THE_END)
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """It has said all it may: what comes now stays with it."""
        self._transport.pause_reading()

    def pause_writing(self) -> None:
        self.is_behind = True
        # Closing would wait for the reader to take what is buffered.
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(PATIENCE_SECONDS, self._transport.abort)

    def resume_writing(self) -> None:
        self._stop_waiting()
        self.is_behind = False
        self._crowd.catch_up(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self.is_behind = True
        self._crowd.leave(self)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _end_if_silent(self) -> None:
        """Let the system end the connection when the other side is silent for too long."""
        found = self._transport.get_extra_info("socket")
        if found is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            patience_ms = int(PATIENCE_SECONDS * 1000)
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience_ms)
