"""A server with a certificate that nobody vouches for hears nothing of us, least of all a key."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from domain.errors import Unavailable
from infra import transport
from infra.gateways.sandbox import SandboxGateway
from infra.gateways.stripe import StripeGateway
from infra.notify.sms import HttpSmsSender
from infra.settings import Settings
from services.notification import Ambiguous, SendError
from tests.helpers.broken_tls import broken_tls
from tests.helpers.certificate import certificate
from tests.helpers.stripe_town import KEY

ANSWER = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


async def ask_sandbox(url: str) -> None:
    async with aclosing(SandboxGateway(url)) as gateway:
        await gateway.read_session("session")


async def ask_stripe(url: str) -> None:
    async with aclosing(StripeGateway(KEY, base_url=url)) as gateway:
        await gateway.read_session("cs_session")


async def send_sms(url: str) -> None:
    async with aclosing(HttpSmsSender(Settings(_env_file=None, sms_url=url))) as sms:
        await sms.send("+4930123456", "Hello", reference="booking-x")


class Stranger:
    """A server of somebody who stands between us and the provider."""

    def __init__(self) -> None:
        self.heard = b""
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard += await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()


@pytest.fixture
async def stranger(tmp_path: Path) -> AsyncIterator[Stranger]:
    stranger = Stranger()
    served = certificate(tmp_path, "localhost")
    server = await asyncio.start_server(stranger.serve, "127.0.0.1", 0, ssl=served)
    stranger.url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
    yield stranger
    server.close()


def trust(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context(cafile=folder / "cert.pem")
    monkeypatch.setattr(transport, "_trusted", lambda: context)


@pytest.mark.parametrize("ask", [ask_sandbox, ask_stripe, send_sms])
@pytest.mark.parametrize("trusted", [False, True])
async def test_only_a_server_that_is_vouched_for_is_told_anything(
    stranger: Stranger,
    ask: Callable[[str], Awaitable[None]],
    trusted: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if trusted:
        trust(tmp_path, monkeypatch)
    with pytest.raises((Unavailable, SendError)):
        await ask(stranger.url)
    assert bool(stranger.heard) is trusted


@pytest.mark.parametrize(
    ("ask", "told"),
    [(ask_sandbox, Unavailable), (ask_stripe, Unavailable), (send_sms, Ambiguous)],
)
async def test_tls_that_breaks_after_the_handshake_is_no_answer(
    ask: Callable[[str], Awaitable[None]],
    told: type[Exception],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with broken_tls(tmp_path, "localhost") as port:
        trust(tmp_path, monkeypatch)
        with pytest.raises(told, match="no answer"):
            await ask(f"https://localhost:{port}")
