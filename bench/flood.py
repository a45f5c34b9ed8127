"""A client that costs a fraction of what any server does: it counts bytes, it parses nothing."""

from __future__ import annotations

import asyncio
import time
from typing import cast

CONNECTIONS = 32


class Asker(asyncio.Protocol):
    """Asks again as soon as the whole answer is there; ``size`` is that of every answer."""

    def __init__(self, request: bytes, size: int) -> None:
        self._request = request
        self._size = size
        self._got = 0
        self._transport: asyncio.Transport | None = None
        self.answers = 0
        self.is_over = False
        self.lost: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._got += len(data)
        if self._got < self._size or self._transport is None:
            return
        self._got -= self._size
        self.answers += 1
        if self.is_over:
            self._transport.close()
        else:
            self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.is_over:
            self.lost = exc or ConnectionError("the server closed the connection")


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n".encode()


async def whole_answer(port: int, request: bytes) -> bytes:
    """One answer with its head, as the bytes that came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = await reader.readexactly(length)
    writer.close()
    await writer.wait_closed()
    return head + body


async def flood(port: int, path: str, seconds: float) -> tuple[int, float]:
    """Ask over some connections for so long; answers, and the seconds it took.

    Raises:
        RuntimeError: the answers were not all alike, or a connection was lost.
    """
    request = get(path)
    first = await whole_answer(port, request)
    if not first.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{path}: {first[:100]!r}")
    loop = asyncio.get_running_loop()
    askers = []
    began = time.perf_counter()
    for _ in range(CONNECTIONS):
        make = Asker(request, len(first))
        await loop.create_connection(lambda make=make: make, "127.0.0.1", port)  # type: ignore[misc]
        askers.append(make)
    await asyncio.sleep(seconds)
    elapsed, answers = time.perf_counter() - began, sum(one.answers for one in askers)
    for one in askers:
        one.is_over = True
    lost = [one.lost for one in askers if one.lost]
    if lost:
        raise RuntimeError(f"{path}: a connection was lost: {lost[0]}")
    return answers, elapsed
