"""One reader of a stream. What it costs is a task that waits for its end, and nothing is queued."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import MutableMapping
from typing import Any

from starlette.types import Send

Message = MutableMapping[str, Any]
# A reader that takes nothing for so long is gone, whatever its connection says.
PATIENCE_SECONDS = 30.0
NOTHING: Message = {"type": "http.response.body", "body": b"", "more_body": True}
THE_END: Message = {"type": "http.response.body", "body": b"", "more_body": False}


def chunk(event: bytes) -> Message:
    return {"type": "http.response.body", "body": event, "more_body": True}


class Watcher:
    """``version``: what it was sent last; ``is_behind`` while it takes nothing."""

    __slots__ = ("_send", "is_behind", "version")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.version = 0
        self.is_behind = False

    def offer(self, message: Message) -> bool:
        """Send at once, or not at all: whether it was sent.

        The server's ``send`` writes before it gives control back, unless the reader's buffer is
        full, where it waits before it writes. So it is run by hand, up to its first wait: waking a
        task for each reader would cost as much again as the sending.
        """
        sending: Any = self._send(message)
        try:
            sending.send(None)
        except StopIteration:
            return True
        sending.close()
        return False

    async def send(self, message: Message) -> None:
        await self._send(message)

    async def wait_until_it_reads(self) -> None:
        """Raises TimeoutError: it does not."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._send(NOTHING)

    def watch_over(self) -> None:
        """Let the system end the connection when the other side is silent for too long."""
        transport = self._transport()
        found = transport.get_extra_info("socket") if transport is not None else None
        if found is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            patience_ms = int(PATIENCE_SECONDS * 1000)
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience_ms)

    def cut(self) -> None:
        """End the connection; closing it would wait for the reader to take what is buffered."""
        transport = self._transport()
        if transport is not None:
            transport.abort()

    def _transport(self) -> asyncio.Transport | None:
        """The server's, which ASGI has no word for."""
        cycle = getattr(self._send, "__self__", None)
        return getattr(cycle, "transport", None)
