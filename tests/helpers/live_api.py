"""The API behind a real socket, and readers of its streams."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import uvicorn

from api.app import SeatholdApi
from api.server import ApiServer


@dataclass
class LiveApi:
    app: SeatholdApi
    port: int
    server: ApiServer

    @property
    def streams(self) -> int:
        """How many are open."""
        assert self.app.front.streams is not None, "it has started"
        return len(self.app.front.streams)


@asynccontextmanager
async def live_api(app: SeatholdApi) -> AsyncIterator[LiveApi]:
    """Serve an app on a free port; its server starts and stops it."""
    config = uvicorn.Config(
        app, log_config=None, access_log=False, http="httptools", timeout_graceful_shutdown=20
    )
    server = ApiServer(config, app)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve([listener]))
        try:
            while not server.started:
                assert not task.done(), "the server did not start"
                await asyncio.sleep(0.01)
            yield LiveApi(app, listener.getsockname()[1], server)
        finally:
            server.should_exit = True
            await task


@dataclass
class Event:
    """``kind`` is ``comment`` for a heartbeat."""

    kind: str
    id: int | None
    data: Any


OPENED: list[Reader] = []


async def close_all() -> None:
    while OPENED:
        await OPENED.pop().close()


class Reader:
    """One stream, read event by event; ``seats`` is what a page would show by now."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._text = b""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.version = -1
        self.seats: dict[str, str] = {}

    @classmethod
    async def open(
        cls, port: int, show_id: object, *, receive_buffer: int = 0, **headers: str
    ) -> Reader:
        """Ask for the show's stream and read the answer's head."""
        plug = socket.socket()
        if receive_buffer:
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plug.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plug, ("127.0.0.1", port))
        limit = receive_buffer or 2**20
        found = cls(*await asyncio.open_connection(sock=plug, limit=limit))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        OPENED.append(found)
        await found._ask(f"/api/show/{show_id}/availability/stream", named)
        return found

    async def _ask(self, path: str, headers: Mapping[str, str]) -> None:
        lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.status = int(head[0].split()[1])
        fields = [line.partition(": ") for line in head[1:] if line]
        self.headers = {name.lower(): value for name, _, value in fields}

    async def event(self) -> Event | None:
        """The next one, applied; None at the end of the stream."""
        while b"\n\n" not in self._text:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            chunk = await self._reader.readexactly(size + 2)
            if not size:
                return None
            self._text += chunk[:-2]
        text, _, self._text = self._text.partition(b"\n\n")
        fields = dict(line.partition(": ")[::2] for line in text.decode().split("\n"))
        if "event" not in fields:
            return Event("comment" if text.startswith(b":") else "retry", None, fields)
        event = Event(fields["event"], int(fields["id"]), orjson.loads(fields["data"]))
        self._apply(event)
        return event

    def _apply(self, event: Event) -> None:
        """As docs/reads.md tells a page to."""
        if event.kind == "snapshot":
            self.seats = dict(event.data["seats"])
        else:
            self.seats.update(event.data["seats"])
            self.seats = {label: to for label, to in self.seats.items() if to != "available"}
        assert event.data["version"] == event.id
        assert event.id is not None
        assert event.id > self.version, "a version is told once"
        self.version = event.id

    async def next(self, kind: str) -> Event:
        """Skip to the next of this kind."""
        while (event := await self.event()) is not None:
            if event.kind == kind:
                return event
        raise AssertionError(f"the stream ended without a {kind}")

    async def until(self, seats: Mapping[str, str]) -> list[Event]:
        """Read until these are the seats; what was read."""
        events = []
        while self.seats != seats:
            event = await self.event()
            assert event is not None, "the stream ended"
            events.append(event)
        return events

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
