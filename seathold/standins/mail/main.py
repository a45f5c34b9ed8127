"""The mail and SMS sink's process: an SMTP server and a web server on one event loop."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from socket import socket

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from seathold.listening import listen, serve
from seathold.standins.mail import page, smtp, web
from seathold.standins.mail.faults import Faults
from seathold.standins.mail.store import Store
from seathold.standins.sandbox.answers import http_error


def run(host: str, http_port: int, smtp_port: int, db_path: Path) -> None:
    """Serve until SIGTERM or SIGINT; what was received before is still in ``db_path``."""
    web, mails = listen(host, http_port), listen(host, smtp_port, options="--host or --smtp-port")
    serve(create_app(db_path, mails), web, log_level="warning")


def create_app(db_path: Path, mails: list[socket]) -> Starlette:
    """The web side; the SMTP server listens for as long as it runs."""
    store, faults = Store(db_path), Faults()

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        servers = [await smtp.serve(store, faults, at) for at in mails]
        try:
            yield
        finally:
            for server in servers:
                server.close()
            store.close()

    return Starlette(
        routes=[*web.routes(store, faults), *page.routes(store)],
        exception_handlers={HTTPException: http_error},
        lifespan=lifespan,
    )
