"""A lean HTTP client: the load must cost less than what it loads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

CONNECTIONS = 32


class Wire:
    """One keep-alive connection; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Wire:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a whole request; the answer's status and body."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return int(head[9:12]), await self._reader.readexactly(int(length or 0))

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


def post(path: str, authorization: str, body: bytes) -> bytes:
    """A whole request, head and body."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {authorization}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def hammer(port: int, requests: Sequence[bytes], *, status: int) -> float:
    """Send the requests over some connections, each one at a time; requests a second.

    Raises:
        RuntimeError: an answer had another status.
    """
    wires = [await Wire.open(port) for _ in range(CONNECTIONS)]

    async def one(wire: Wire, share: Sequence[bytes]) -> None:
        for request in share:
            answered, body = await wire.send(request)
            if answered != status:
                raise RuntimeError(f"{answered} instead of {status}: {body.decode()}")

    began = time.perf_counter()
    await asyncio.gather(*(one(wire, requests[at::CONNECTIONS]) for at, wire in enumerate(wires)))
    rate = len(requests) / (time.perf_counter() - began)
    for wire in wires:
        await wire.close()
    return rate
