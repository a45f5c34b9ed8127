"""Who asks and does not take the answer: the connection and what it holds are given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from api.protocol import BoundedProtocol
from tests.helpers.eventually import eventually

GET = b"GET / HTTP/1.1\r\nHost: api.test\r\n"
# More than the buffers of both systems take.
ANSWER = b"x" * (16 * 1024 * 1024)


class Hasty(BoundedProtocol):
    answer_seconds = 0.3


class Roomy(Hasty):
    """Whose answers fit into the server's own buffer: nobody is asked to pause."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=2 * len(ANSWER))


async def app(scope: Any, receive: Any, send: Any) -> None:
    length = (b"content-length", b"%d" % len(ANSWER))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": ANSWER})


class Server:
    def __init__(self, http: type[BoundedProtocol]) -> None:
        self._config = uvicorn.Config(
            app, http=http, ws="none", lifespan="off", log_config=None, timeout_keep_alive=1
        )
        self._config.load()
        self._http = http
        self._state = ServerState()
        self.port = 0

    def connected(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self._http(
            self._config, self._state, {}, asyncio.get_running_loop()
        )
        return made

    async def has_answered(self) -> bool:
        return self._state.total_requests > 0

    async def is_alone(self) -> bool:
        return not self._state.connections


@pytest.fixture(params=[Hasty, Roomy])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    server = Server(request.param)
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(server.connected, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    listening.close()


@pytest.mark.parametrize("more", [b"\r\n", b"Connection: close\r\n\r\n"])
async def test_who_takes_nothing_of_an_answer_is_not_waited_for(
    server: Server, more: bytes
) -> None:
    loop = asyncio.get_running_loop()
    silent, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", server.port)
    silent.pause_reading()
    silent.write(GET + more)
    await eventually(server.has_answered)
    await eventually(server.is_alone, message="the connection is held for a reader that is none")
    silent.close()


async def test_who_takes_it_in_time_has_all_of_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hasty, "answer_seconds", 60)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(GET + b"\r\n")
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(len(ANSWER)) == ANSWER
    writer.write(GET + b"Connection: close\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.read(-1) == ANSWER, "also where the server closes behind it"
    writer.close()
