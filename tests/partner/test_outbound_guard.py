"""The guard against SSRF on real sockets: with it nothing local is reached, without it all is."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpcore2
import pytest

from domain.errors import Invalid
from domain.outbound import OutboundPolicy, Target, checked_addresses
from infra.outbound import Outbound, Resolver, Unanswered
from tests.helpers.certificate import certificate
from tests.helpers.eventually import eventually
from tests.helpers.forbidden_urls import FORBIDDEN

# Nothing but the rules about addresses, so that each of these is refused by them alone.
GUARDED = OutboundPolicy(https_only=False, ports=None)
# Each spelling of this machine that the system's own resolver takes.
SPELLINGS = (
    "127.0.0.1",
    "127.0.0.53",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "0.0.0.0",
    "0",
    "localhost",
    "LOCALHOST",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
)


class Inside:
    """A service of this machine that no partner may reach."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    async def is_reached(self) -> bool:
        return self.connections > 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


@pytest.fixture
async def inside() -> AsyncIterator[Inside]:
    """On every IPv4 address of this machine."""
    inside = Inside()
    server = await asyncio.start_server(inside.serve, "0.0.0.0", 0)
    inside.port = server.sockets[0].getsockname()[1]
    yield inside
    server.close()


async def post(url: str, policy: OutboundPolicy, resolve: object = None) -> None:
    outbound = Outbound(policy, resolve=resolve, total_seconds=2)  # type: ignore[arg-type]
    try:
        await outbound.post(url, {}, b"{}")
    finally:
        await outbound.aclose()


@pytest.mark.parametrize("host", SPELLINGS)
async def test_no_spelling_reaches_this_machine(inside: Inside, host: str) -> None:
    with pytest.raises(Invalid):
        await post(f"http://{host}:{inside.port}/", GUARDED)
    assert inside.connections == 0


@pytest.mark.parametrize("host", SPELLINGS)
async def test_without_the_guard_every_spelling_reaches_it(inside: Inside, host: str) -> None:
    """The negative control: it is the guard that refuses, not the network."""
    _, writer = await asyncio.open_connection(host.strip("[]"), inside.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n{}")
    await writer.drain()
    writer.close()

    await eventually(inside.is_reached)


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1"],
        ["::ffff:127.0.0.1"],
        ["8.8.8.8", "127.0.0.1"],
        ["169.254.169.254"],
        ["10.1.2.3"],
        ["100.64.0.1"],
        ["fd00:ec2::254"],
        [],
    ],
)
async def test_a_public_name_with_an_address_of_ours_reaches_nothing(
    inside: Inside, answers: list[str]
) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return answers

    with pytest.raises(Invalid) as refused:
        await post(f"http://partner.example:{inside.port}/", GUARDED, resolve)
    assert refused.value.code == "forbidden_address"
    assert inside.connections == 0


class Hangup:
    """Whatever address is asked for, the connection comes here, is counted and is closed."""

    def __init__(self) -> None:
        self.connections = self.port = 0
        self._sockets = httpcore2.AnyIOBackend()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()

    async def connect_tcp(
        self, host: str, port: int, *options: Any
    ) -> httpcore2.AsyncNetworkStream:
        return await self._sockets.connect_tcp("127.0.0.1", self.port, *options)


@pytest.fixture
async def every_road(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hangup]:
    """All that is let through arrives at one socket, so that none can pass unseen."""
    hangup = Hangup()
    server = await asyncio.start_server(hangup.serve, "127.0.0.1", 0)
    hangup.port = server.sockets[0].getsockname()[1]
    monkeypatch.setattr("infra.outbound.httpcore2.AnyIOBackend", lambda: hangup)
    yield hangup
    server.close()


async def public(host: str, port: int) -> Sequence[str]:
    return ["8.8.8.8"]


async def test_of_everything_forbidden_nothing_connects(every_road: Hangup) -> None:
    async with contextlib.aclosing(Outbound(OutboundPolicy(), resolve=public)) as outbound:
        for url in FORBIDDEN:
            with pytest.raises(Invalid):
                await outbound.post(url, {}, b"{}")
    assert every_road.connections == 0


async def test_without_the_guard_most_of_it_connects(
    every_road: Hangup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: the library itself would send to whatever has a host."""

    def unguarded(url: str, policy: OutboundPolicy) -> Target:
        parts = httpcore2.URL(url)
        return Target("http", parts.host.decode(), parts.port or 443, "/")

    monkeypatch.setattr("infra.outbound.target_of", unguarded)
    async with contextlib.aclosing(Outbound(OutboundPolicy(), resolve=public)) as outbound:
        for url in FORBIDDEN:
            with contextlib.suppress(Unanswered, ValueError, TypeError):
                await outbound.post(url, {}, b"{}")
    assert every_road.connections > len(FORBIDDEN) // 2


class Rebinding:
    """A name server that says one thing to who checks, and another to who connects."""

    def __init__(self, first: str, then: str) -> None:
        self.asked = 0
        self._first, self._then = first, then

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return [self._first if self.asked == 1 else self._then]


async def test_a_name_that_changes_its_mind_is_asked_once(inside: Inside) -> None:
    """127.0.0.2 stands for the public address, where nobody listens at this port."""
    public = OutboundPolicy(https_only=False, ports=None, exempt=(ip_network("127.0.0.2/32"),))
    rebinding = Rebinding("127.0.0.2", "127.0.0.1")
    server = await asyncio.start_server(Inside().serve, "127.0.0.3", 0)
    closed = server.sockets[0].getsockname()[1]
    server.close()
    with pytest.raises(Unanswered):
        await post(f"http://partner.example:{closed}/", public, rebinding)
    assert rebinding.asked == 1
    # Asked again, for a new connection, it is checked again.
    with pytest.raises(Invalid):
        await post(f"http://partner.example:{inside.port}/", public, rebinding)
    assert inside.connections == 0


async def test_who_checks_and_then_connects_by_name_is_tricked(inside: Inside) -> None:
    """The negative control: the check that looks right and is not."""
    public = OutboundPolicy(https_only=False, ports=None, exempt=(ip_network("127.0.0.2/32"),))
    rebinding = Rebinding("127.0.0.2", "127.0.0.1")
    checked_addresses(await rebinding("partner.example", inside.port), public)
    [address] = await rebinding("partner.example", inside.port)
    _, writer = await asyncio.open_connection(address, inside.port)
    writer.write(b"{}")
    await writer.drain()
    writer.close()

    await eventually(inside.is_reached)


async def test_the_next_address_of_a_name_is_tried(inside: Inside) -> None:
    local = OutboundPolicy(https_only=False, ports=None, exempt=(ip_network("127.0.0.0/8"),))

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.9", "127.0.0.1"]

    server = await asyncio.start_server(inside.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await post(f"http://partner.example:{port}/", local, resolve)
    server.close()
    assert inside.connections == 1


async def test_the_proxy_of_the_environment_is_not_asked(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{inside.port}")

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["10.0.0.1"]

    with pytest.raises(Invalid):
        await post("http://partner.example/", GUARDED, resolve)
    assert inside.connections == 0


async def test_a_name_that_nobody_knows_is_no_answer() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        raise OSError("unknown")

    with pytest.raises(Unanswered):
        await post("http://partner.example/", GUARDED, resolve)


async def test_the_system_resolves_names_to_addresses() -> None:
    assert "127.0.0.1" in await Resolver()("localhost", 80)
    with pytest.raises(OSError, match="label"):
        await Resolver()(f"{'x' * 64}.example", 80)


@pytest.mark.parametrize(
    ("asked", "trusted", "told"),
    [
        ("partner.example", True, None),
        ("other.example", True, "TLS failed"),
        ("partner.example", False, "TLS failed"),
    ],
)
async def test_the_certificate_must_be_the_names_though_the_address_is_connected_to(
    inside: Inside, tmp_path: Path, asked: str, trusted: bool, told: str | None
) -> None:
    local = OutboundPolicy(ports=None, exempt=(ip_network("127.0.0.0/8"),))
    served = certificate(tmp_path, "partner.example")
    server = await asyncio.start_server(inside.serve, "127.0.0.1", 0, ssl=served)
    port = server.sockets[0].getsockname()[1]
    context = ssl.create_default_context(cafile=tmp_path / "cert.pem" if trusted else None)

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    outbound = Outbound(local, resolve=resolve, ssl_context=context, total_seconds=5)
    try:
        if told is None:
            answer = await outbound.post(f"https://{asked}:{port}/", {}, b"{}")
            assert answer.status == 200
        else:
            with pytest.raises(Unanswered, match=told):
                await outbound.post(f"https://{asked}:{port}/", {}, b"{}")
            assert inside.connections == 0
    finally:
        await outbound.aclose()
        server.close()
