"""The SMS sender against a real provider's stand-in, well and unwell."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from infra.notify.sms import HttpSmsSender
from infra.settings import Settings
from services.notification import Ambiguous, KeyKnown, NotSent, Refused, SendError
from tests.mail.process import Sink
from tests.sandbox.process import free_port


@asynccontextmanager
async def sender(settings: Settings, **options: float) -> AsyncIterator[HttpSmsSender]:
    it = HttpSmsSender(settings, **options)
    yield it
    await it.aclose()


def fresh_number() -> str:
    return f"+{uuid4().int % 10**14:015d}"


async def test_an_sms_arrives(sink: Sink) -> None:
    to = fresh_number()
    async with sender(sink.settings(Settings(_env_file=None))) as sms:
        await sms.send(to, "Hello", reference="booking-x")
    [message] = sink.messages(to)
    assert (message["channel"], message["text"], message["html"]) == ("sms", "Hello", "")
    assert message["headers"]["Message-ID"] == "booking-x"


async def test_a_repeat_is_sent_once(sink: Sink) -> None:
    to, reference = fresh_number(), uuid4().hex
    sink.configure(sms="hang", sms_times=1, hang_ms=3_000)
    async with sender(sink.settings(Settings(_env_file=None)), total_seconds=0.5) as sms:
        with pytest.raises(Ambiguous):
            await sms.send(to, "Hello", reference=reference)
        await sms.send(to, "Hello", reference=reference)
    assert len(sink.messages(to)) == 1


async def test_another_text_under_a_key_is_told_from_other_refusals(sink: Sink) -> None:
    to, reference = fresh_number(), uuid4().hex
    async with sender(sink.settings(Settings(_env_file=None))) as sms:
        await sms.send(to, "Hello", reference=reference)
        with pytest.raises(KeyKnown, match="answered 422, idempotency_key_reused"):
            await sms.send(to, "Good bye", reference=reference)
        sink.configure(sms="422")
        with pytest.raises(Refused) as refused:
            await sms.send(to, "Good bye", reference=reference)
        assert not isinstance(refused.value, KeyKnown)
    assert [message["text"] for message in sink.messages(to)] == ["Hello"]


@pytest.mark.parametrize(("fault", "error"), [("500", Ambiguous), ("422", Refused)])
async def test_an_unhappy_answer_says_whether_to_try_again(
    sink: Sink, fault: str, error: type[SendError]
) -> None:
    to = fresh_number()
    sink.configure(sms=fault)
    async with sender(sink.settings(Settings(_env_file=None))) as sms:
        with pytest.raises(error, match=f"answered {fault}"):
            await sms.send(to, "Hello", reference="x")
    assert sink.messages(to) == []


@pytest.mark.parametrize("status", [302, 401, 429])
async def test_what_is_not_the_messages_fault_is_tried_again(status: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status} No\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
        writer.write(head.encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = Settings(_env_file=None, sms_url=f"http://127.0.0.1:{port}/api/sms")
    async with server, sender(settings) as sms:
        with pytest.raises(NotSent, match=f"answered {status}"):
            await sms.send(fresh_number(), "Hello", reference="x")


async def test_messages_one_after_the_other_use_one_connection() -> None:
    connections, heads = 0, []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                heads.append(head)
                await reader.readexactly(length)
                writer.write(b"HTTP/1.1 201 Made\r\nContent-Length: 11\r\n\r\n" + b'{"id": "1"}')
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = Settings(_env_file=None, sms_url=f"http://127.0.0.1:{port}/api/sms")
    async with server, sender(settings) as sms:
        for number in range(3):
            await sms.send(fresh_number(), "Hello", reference=f"key-{number}")
    assert connections == 1
    for number, head in enumerate(heads):
        assert head.startswith(b"POST /api/sms HTTP/1.1\r\n")
        assert b"\r\nContent-Type: application/json\r\n" in head
        assert b"\r\nIdempotency-Key: key-%d\r\n" % number in head
        assert b"\r\nHost: 127.0.0.1:%d\r\n" % port in head


async def test_a_provider_that_is_away_has_taken_nothing() -> None:
    settings = Settings(_env_file=None, sms_url=f"http://127.0.0.1:{free_port()}/api/sms")
    async with sender(settings) as sms:
        with pytest.raises(NotSent, match="no way"):
            await sms.send(fresh_number(), "Hello", reference="x")
