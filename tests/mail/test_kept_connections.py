"""Connections between messages: used again, ended in time, and never a reason for doubt."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from infra.notify.smtp import SmtpMailer
from infra.settings import Settings
from services.notification import Ambiguous, Message, Refused

MESSAGE = Message("Your tickets", "Hello\n", "<p>Hello</p>")


class Host:
    """A mail server that counts, and at one command of one connection says or does its worst."""

    def __init__(self) -> None:
        self.connections = 0
        self.taken: list[tuple[str, bytes]] = []
        self.ended: asyncio.Queue[bytes] = asyncio.Queue()
        self.reached = asyncio.Event()
        # What to answer the so-maniest such command of the first connection: empty hangs up.
        self.worst: dict[tuple[str, int], bytes | None] = {}

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        first, seen, to, line = self.connections == 1, Counter[str](), "", b""
        writer.write(b"220 hello\r\n")
        while heard := await reader.readline():
            line, verb = heard, heard[:4].decode()
            to = line.decode() if verb == "RCPT" else to
            seen[verb] += 1
            answer = self._answer(verb, seen[verb], first)
            writer.write(answer)
            if verb == "DATA" and answer.startswith(b"354"):
                content = await reader.readuntil(b"\r\n.\r\n")
                self.taken.append((to, content))
                answer = self._answer("done", seen[verb], first)
                writer.write(answer)
            if not answer:
                break
        self.ended.put_nowait(line)
        writer.close()

    def _answer(self, verb: str, count: int, first: bool) -> bytes:
        if first and (verb, count) in self.worst:
            worst = self.worst[verb, count]
            self.reached.set()
            return b"250-never ended\r\n" if worst is None else worst
        return b"354 go on\r\n" if verb == "DATA" else b"250 2.0.0 well\r\n"


@asynccontextmanager
async def hosted(**options: float) -> AsyncIterator[tuple[Host, SmtpMailer]]:
    host = Host()
    server = await asyncio.start_server(host.talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = Settings(_env_file=None, smtp_host="127.0.0.1", smtp_port=port)
    mailer = SmtpMailer(settings, **options)
    async with server:
        yield host, mailer
        await mailer.aclose()
        async with asyncio.timeout(10):
            for _ in range(host.connections):
                await host.ended.get()


async def send(mailer: SmtpMailer, count: int = 1) -> list[str]:
    """So many messages at the same time; whom they went to."""
    names = [uuid4().hex for _ in range(count)]
    await asyncio.gather(
        *(
            mailer.send(f"{name}@example.test", Message("S", name, name), reference=name)
            for name in names
        )
    )
    return names


async def test_messages_one_after_the_other_use_one_connection() -> None:
    async with hosted() as (host, mailer):
        for count in (1, 2, 3):
            await send(mailer)
            assert (host.connections, len(host.taken)) == (1, count)


async def test_messages_at_the_same_time_do_not_mix() -> None:
    async with hosted() as (host, mailer):
        names = [name for _ in range(3) for name in await send(mailer, 8)]
        assert host.connections == 8, "each connection serves one message at a time"
        assert len(host.taken) == len(names) == 24
        for to, content in host.taken:
            [name] = [name for name in names if name in to]
            # To, Message-ID, text and HTML.
            assert content.count(name.encode()) == 4
            assert not any(other.encode() in content for other in names if other != name)


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"421 4.4.2 idle too long\r\n",
        b"452 4.5.3 enough\r\n",
        b"550 5.7.0 enough\r\n",
        b"?\r\n",
    ],
)
async def test_a_kept_connection_that_fails_costs_the_message_nothing(
    verb: str, answer: bytes
) -> None:
    async with hosted() as (host, mailer):
        host.worst[verb, 2] = answer
        await send(mailer)
        [name] = await send(mailer)
        assert host.connections == 2
        assert [name in to for to, _ in host.taken] == [False, True], "it went out once"
        await send(mailer)
        assert host.connections == 2, "the new one is kept in its place"


async def test_a_server_that_hung_up_meanwhile_is_called_again() -> None:
    async with hosted() as (host, mailer):
        host.worst["done", 1] = b"250 2.0.0 well\r\n421 4.4.2 and goodbye\r\n"
        await send(mailer)
        [name] = await send(mailer)
        assert host.connections == 2
        assert [name in to for to, _ in host.taken] == [False, True], "it went out once"


async def test_a_kept_connection_lost_after_the_message_leaves_doubt_and_no_second_copy() -> None:
    async with hosted() as (host, mailer):
        host.worst["done", 2] = b""
        await send(mailer)
        with pytest.raises(Ambiguous):
            await send(mailer)
        assert (host.connections, len(host.taken)) == (1, 2)
        await send(mailer)
        assert (host.connections, len(host.taken)) == (2, 3)


async def test_a_message_refused_on_a_kept_connection_is_not_sent_again() -> None:
    async with hosted() as (host, mailer):
        host.worst["done", 2] = b"554 5.7.1 the message is refused\r\n"
        await send(mailer)
        with pytest.raises(Refused, match=r"answered 554 5\.7\.1"):
            await send(mailer)
        assert (host.connections, len(host.taken)) == (1, 2)


@pytest.mark.parametrize(("verb", "taken"), [("RCPT", 1), ("done", 2)])
async def test_a_connection_left_in_the_middle_serves_no_other_message(
    verb: str, taken: int
) -> None:
    async with hosted() as (host, mailer):
        host.worst[verb, 2] = None
        await send(mailer)
        left = asyncio.create_task(send(mailer))
        await host.reached.wait()
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        assert len(host.taken) == taken
        await send(mailer)
        assert (host.connections, len(host.taken)) == (2, taken + 1)


async def test_an_idle_connection_is_ended_with_a_goodbye() -> None:
    async with hosted(idle_seconds=0) as (host, mailer):
        await send(mailer)
        async with asyncio.timeout(10):
            assert await host.ended.get() == b"QUIT\r\n"
        await send(mailer)
        assert host.connections == 2
        host.connections = 1  # the other has ended


async def test_closing_ends_the_connections_with_a_goodbye() -> None:
    async with hosted() as (host, mailer):
        await send(mailer, 3)
        await mailer.aclose()
        async with asyncio.timeout(10):
            assert [await host.ended.get() for _ in range(3)] == [b"QUIT\r\n"] * 3
        host.connections = 0
