"""Refused reserves a second, ours against the least an app can do."""

from __future__ import annotations

import asyncio
import time

CONNECTIONS = 32


async def hammer(port: int, request: bytes, *, count: int) -> tuple[float, int]:
    """Send ``count`` requests over keep-alive connections; requests a second and the 409s."""
    share = count // CONNECTIONS
    began = time.perf_counter()
    refused = await asyncio.gather(*(_one(port, request, share) for _ in range(CONNECTIONS)))
    return share * CONNECTIONS / (time.perf_counter() - began), sum(refused)


async def _one(port: int, request: bytes, count: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    refused = 0
    for _ in range(count):
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        refused += head.startswith(b"HTTP/1.1 409")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
    writer.close()
    await writer.wait_closed()
    return refused


def post(path: str, token: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
