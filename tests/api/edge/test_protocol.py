"""HTTP on a raw socket, to uvicorn as it runs in earnest: what is ambiguous, slow or huge."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from structlog.testing import capture_logs
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from api import protocol
from api.protocol import BoundedProtocol

POST = b"POST /api/auth/login HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: api.test\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
NEXT = GET + b"\r\n"


class Hasty(BoundedProtocol):
    header_seconds = 0.2
    body_seconds = 0.4


class Server:
    """``ask`` sends bytes and reads until the server closes, or for as long as is said."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def ask(self, *parts: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            return await asyncio.wait_for(reader.read(-1), 15)
        except ConnectionResetError:
            return b""
        finally:
            await hang_up(writer)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


@asynccontextmanager
async def serving(app: Any, http: type[HttpToolsProtocol]) -> AsyncIterator[Server]:
    config = uvicorn.Config(
        app,
        port=0,
        http=http,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=1,
    )
    config.load()
    loop, state = asyncio.get_running_loop(), ServerState()

    def connected() -> asyncio.Protocol:
        made: asyncio.Protocol = http(config, state, {}, loop)
        return made

    listening = await loop.create_server(connected, "127.0.0.1", 0)
    try:
        yield Server(listening.sockets[0].getsockname()[1])
    finally:
        listening.close()
        await listening.wait_closed()


@pytest.fixture(scope="module")
async def server(app: FastAPI) -> AsyncIterator[Server]:
    async with serving(app, Hasty) as server:
        yield server


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def count_of(answer: bytes) -> int:
    return answer.count(b"HTTP/1.1 ")


async def test_a_plain_request_is_answered(server: Server) -> None:
    """The control: the same two in one packet, one after the other on one connection."""
    answer = await server.ask(NEXT + GET + b"Connection: close\r\n\r\n")
    assert count_of(answer) == 2
    assert answer.count(b'{"status":"ok"}') == 2


async def test_a_header_is_measured_by_itself(server: Server) -> None:
    """Not with those before it on its connection."""
    long = GET + b"X-A: " + b"a" * 14_000 + b"\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(long * 2 + GET)
    assert status_of(await reader.readuntil(b'{"status":"ok"}')) == 200
    writer.write(b"Connection: close\r\n\r\n")
    assert (await reader.read(-1)).count(b'{"status":"ok"}') == 2
    await hang_up(writer)


@pytest.mark.parametrize("end", [b"%0A", b"%0D", b"%00", b"%09", b"%0a%0A", b"%0D%0A"])
@pytest.mark.parametrize(
    "line", [b"GET /metrics", b"POST /api/auth/register", b"POST /api/auth/password/forgot"]
)
async def test_an_address_with_a_control_character_is_none(
    server: Server, line: bytes, end: bytes
) -> None:
    head = b" HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n"
    assert status_of(await server.ask(line + end + head)) == 404
    assert status_of(await server.ask(line + head)) in (200, 422), "the control: there is one"


AMBIGUOUS = {
    "length and chunks": POST + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "chunks and length": POST + CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 4\r\n\r\n{}  ",
    "one length twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "a signed length": POST + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": POST + b"Content-Length: -2\r\n\r\n{}",
    "a hexadecimal length": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "no length": POST + b"Content-Length: \r\n\r\n{}",
    "a chunk of nothing known": POST + CHUNKED + b"\r\nxyz\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": POST + CHUNKED + b"\r\n-2\r\n{}\r\n0\r\n\r\n",
    "a chunk with a prefix": POST + CHUNKED + b"\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk past 64 bits": POST + CHUNKED + b"\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than it says": POST + CHUNKED + b"\r\n2\r\n{}x\r\n0\r\n\r\n",
    "chunks with bare line ends": POST + CHUNKED + b"\r\n2\n{}\n0\n\n",
    "a chunk extension's line end": POST + CHUNKED + b"\r\n2;x\n{}\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n{}",
    "packed and chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked and packed": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "almost chunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n",
    "chunked behind a tabulator": POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": POST.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n0\r\n\r\n",
    "a folded field": GET + b"X-A: a\r\n b\r\n\r\n",
    "a folded encoding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "bare line ends": GET.replace(b"\r", b"") + b"\n",
    "one bare line end": GET + b"X-A: a\nContent-Length: 4\r\n\r\n",
    "a bare return": GET + b"X-A: a\rContent-Length: 4\r\n\r\n",
    "a NUL": GET + b"X-A: a\x00b\r\n\r\n",
    "a control character": GET + b"X-A: a\x01b\r\n\r\n",
    "a field without a name": GET + b": a\r\n\r\n",
    "a space before the first field": b"GET /healthz HTTP/1.1\r\n Host: a\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: other.test\r\n\r\n",
    "another host in the line": b"GET http://other.test/healthz HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/1.2": GET.replace(b"1.1", b"1.2") + b"\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method of nobody's": GET.replace(b"GET", b"SMUGGLE") + b"\r\n",
    "a tunnel": b"CONNECT api.test:443 HTTP/1.1\r\nHost: api.test\r\n\r\n",
}


@pytest.mark.parametrize("sent", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_what_two_servers_could_read_differently_is_refused(
    server: Server, sent: bytes
) -> None:
    """And nothing that comes behind it is read as a request of its own."""
    with capture_logs() as logs:
        answer = await server.ask(sent + NEXT)
    assert status_of(answer) == 400, answer
    assert count_of(answer) == 1
    [line] = [line for line in logs if line["event"] == "request_refused"]
    assert (line["status"], line["code"]) == (400, "malformed")
    assert f"x-request-id: {line['request_id']}\r\n".encode() in answer
    assert b'{"status":"ok"}' not in answer
    head, _, body = answer.partition(b"\r\n\r\n")
    assert json.loads(body)["code"] == "malformed"
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    assert b"x-request-id: " in head
    assert b"x-content-type-options: nosniff" in head
    assert b"server:" not in head.lower()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"GET http://api.test/healthz HTTP/1.1\r\nHost: api.test:80\r\nConnection: close\r\n\r\n",
        GET + b"Transfer-Encoding: Chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
    ],
    ids=["a probe of old", "a proxy's whole address", "chunks in capitals"],
)
async def test_what_is_odd_and_has_one_reading_is_answered(server: Server, sent: bytes) -> None:
    assert status_of(await server.ask(sent)) == 200


async def test_a_body_cut_off_by_a_broken_chunk_reaches_no_route() -> None:
    """What comes before is valid JSON; the control is uvicorn's own, which passes it on."""
    whole: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        while message["type"] == "http.request" and message["more_body"]:
            message = await receive()
        whole.append(message["type"] == "http.request")

    async with serving(app, Hasty) as server:
        await server.ask(POST + CHUNKED + b"\r\n2\r\n{}\r\n", b"nonsense\r\n")
    assert whole == [False]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (GET + b"X-A: " + b"a" * protocol.MAX_HEADER_BYTES + b"\r\n\r\n", 431),
        (GET + b"".join(b"X-%d: a\r\n" % n for n in range(200)) + b"\r\n", 431),
        (GET + b"X-A: " + b"a" * 100_000, 431),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: api.test\r\n\r\n", 414),
        (b"GET /" + b"a" * 100_000, 414),
    ],
    ids=["a long field", "many fields", "a field without end", "a long address", "one without end"],
)
async def test_headers_have_a_size(server: Server, sent: bytes, status: int) -> None:
    answer = await server.ask(sent)
    assert status_of(answer) in (status, 431)
    assert count_of(answer) == 1


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET",
        GET + b"X-A: a",
        POST + b"Content-Length: 100\r\n\r\n{",
        POST + CHUNKED + b"\r\n2\r\n{}\r\n",
    ],
    ids=["nothing", "half a line", "half a header", "half a body", "half of the chunks"],
)
async def test_who_says_no_more_is_not_waited_for(server: Server, sent: bytes) -> None:
    answer = await server.ask(sent)
    assert status_of(answer) == 408
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "request_timeout"


async def test_a_byte_now_and_then_does_not_put_the_end_off(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    began = time.monotonic()
    ended = asyncio.create_task(reader.read(-1))
    writer.write(GET)
    while not ended.done() and time.monotonic() < began + 10:
        writer.write(b"X")
        await asyncio.wait([ended], timeout=0.02)
    assert ended.done(), "it was kept open byte by byte"
    assert b" 408 " in await ended
    await hang_up(writer)


@pytest.mark.parametrize("size", [0, 300_000])
async def test_a_slow_answer_is_not_a_slow_request(size: int) -> None:
    """The deadlines are those of what comes in, and a body that we do not read on is not late."""

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(Hasty.body_seconds + Hasty.header_seconds)
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with serving(slow, Hasty) as server:
        head = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % size
        answer = await server.ask(head + b" " * size)
    assert status_of(answer) == 204


async def test_a_body_has_more_time_than_a_header(app: FastAPI) -> None:
    class Patient(Hasty):
        body_seconds = 15.0

    async with serving(app, Patient) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(POST + b"Connection: close\r\nContent-Length: 2\r\n\r\n{")
        await asyncio.sleep(2 * Hasty.header_seconds)
        writer.write(b"}")
        assert status_of(await reader.read(-1)) == 422
        await hang_up(writer)


async def test_head_has_the_headers_and_no_body(server: Server) -> None:
    answer = await server.ask(GET.replace(b"GET", b"HEAD") + b"Connection: close\r\n\r\n")
    assert status_of(answer) == 200
    assert b"content-length: 15" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_an_upgrade_that_we_do_not_know_ends_the_connection(server: Server) -> None:
    answer = await server.ask(GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + NEXT)
    assert count_of(answer) == 1
    assert b"connection: close" in answer
