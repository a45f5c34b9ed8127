"""The codec server's process. It has the payload keys and the API's address, and no database."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import httpx2
from starlette.applications import Starlette
from starlette.types import ASGIApp

from infra.codec import SealingCodec, parse_keys
from infra.logging import configure_logging
from infra.settings import Settings
from seathold.codec.readers import Readers
from seathold.codec.web import CodecServer
from seathold.listening import listen, serve

API_SECONDS = 10


def create_app(settings: Settings, ui_origins: list[str], port: int) -> ASGIApp:
    """The server for Temporal's UI at ``ui_origins``; people log in at ``settings.public_url``.

    Without ``settings.codec_origin`` it is found on this machine, at ``port``.
    """
    own = settings.codec_origin
    here = [f"http://{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")]
    # Our own API, like all that we ask, is never behind the proxy that the environment may name.
    api = httpx2.AsyncClient(base_url=settings.public_url, timeout=API_SECONDS, trust_env=False)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await api.aclose()

    codec = SealingCodec(parse_keys(settings.payload_keys.get_secret_value()))
    readers = Readers(api, second_factor=settings.staff_needs_second_factor)
    server = CodecServer(codec, readers, ui_origins=ui_origins, own_origins=[own] if own else here)
    return server.app(lifespan)


def run(settings: Settings, host: str, port: int, ui_origins: list[str]) -> None:
    """Serve until SIGTERM or SIGINT."""
    configure_logging(settings, process="codec")
    sockets = listen(host, port)
    serve(create_app(settings, ui_origins, port), sockets, log_config=None)
