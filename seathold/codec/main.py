"""The codec server's process. It has the payload keys and the API's address, and no database."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import httpx2
import uvicorn
from starlette.applications import Starlette

from infra.codec import SealingCodec, parse_keys
from infra.logging import configure_logging
from infra.settings import Settings
from seathold.codec.readers import Readers
from seathold.codec.web import CodecServer

API_SECONDS = 10


def create_app(settings: Settings, ui_origins: list[str], *, secure: bool) -> Starlette:
    """The server for Temporal's UI at ``ui_origins``; people log in at ``settings.public_url``."""
    api = httpx2.AsyncClient(base_url=settings.public_url, timeout=API_SECONDS)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await api.aclose()

    codec = SealingCodec(parse_keys(settings.payload_keys.get_secret_value()))
    server = CodecServer(codec, Readers(api), ui_origins=ui_origins, secure=secure)
    return Starlette(routes=server.routes(), lifespan=lifespan)


def run(settings: Settings, host: str, port: int, ui_origins: list[str], *, secure: bool) -> None:
    """Serve until SIGTERM or SIGINT."""
    configure_logging(settings, process="codec")
    uvicorn.run(
        create_app(settings, ui_origins, secure=secure),
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
