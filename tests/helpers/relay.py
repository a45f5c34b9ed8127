"""A line between two parts that can fall silent: open, and nothing comes through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

CHUNK = 65536


class Relay:
    """Passes bytes on in both directions for as long as it ``speaks``.

    ``said`` are the bytes that came from whoever connected, passed on or not.
    """

    def __init__(self, url: str) -> None:
        self._there = urlsplit(url)
        self.url = url
        self.speaks = asyncio.Event()
        self.speaks.set()
        self.said = 0
        self._ends: list[asyncio.StreamWriter] = []

    @classmethod
    @asynccontextmanager
    async def to(cls, url: str) -> AsyncIterator[Relay]:
        """A line to the server at ``url``; its own ``url`` leads there through it."""
        self = cls(url)
        async with asyncio.TaskGroup() as group:

            def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                group.create_task(self._connect(reader, writer))

            server = await asyncio.start_server(begin, "127.0.0.1", 0)
            host, port = server.sockets[0].getsockname()
            who, _, _ = self._there.netloc.rpartition("@")
            self.url = urlunsplit(self._there._replace(netloc=f"{who}@{host}:{port}"))
            try:
                yield self
            finally:
                # Whoever is still connected is to hear that the line has ended.
                self.speaks.set()
                server.close()
                for end in self._ends:
                    end.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._there.hostname, self._there.port)
        self._ends += (back, writer)
        forth, hither = asyncio.Queue[bytes](), asyncio.Queue[bytes]()
        await asyncio.gather(
            self._hear(reader, forth, is_caller=True),
            self._hear(there, hither, is_caller=False),
            self._pass_on(forth, back),
            self._pass_on(hither, writer),
        )

    async def _hear(
        self, source: asyncio.StreamReader, heard: asyncio.Queue[bytes], *, is_caller: bool
    ) -> None:
        """Silent or not: who waits for ``said`` to grow is to see it."""
        with suppress(ConnectionError):
            while data := await source.read(CHUNK):
                self.said += len(data) * is_caller
                heard.put_nowait(data)
        heard.put_nowait(b"")

    async def _pass_on(self, heard: asyncio.Queue[bytes], to: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await heard.get():
                await self.speaks.wait()
                to.write(data)
                await to.drain()
        to.close()
