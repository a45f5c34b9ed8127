"""The sandbox provider's process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from seathold.listening import listen, serve
from seathold.standins.sandbox import page, scripted, v1
from seathold.standins.sandbox.answers import http_error, json_answer
from seathold.standins.sandbox.courier import BACKOFF_SECONDS, Courier
from seathold.standins.sandbox.faults import Faults
from seathold.standins.sandbox.store import Store
from seathold.standins.sandbox.times import now_us

EXPIRY_TICK_SECONDS = 0.2

log = logging.getLogger(__name__)


def run(
    host: str,
    port: int,
    db_path: Path,
    webhook_url: str,
    webhook_secret: str,
    *,
    public_url: str | None = None,
    backoff_seconds: Sequence[float] = BACKOFF_SECONDS,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        webhook_url: where events are sent; an empty one keeps them queued until ``/test/config``
            names one.
        webhook_secret: ``whsec_`` and base64, as Standard Webhooks says.
        public_url: where a browser reaches this process; by default the address served on.
        backoff_seconds: the pauses between the attempts to deliver an event.

    Raises:
        CannotListen: the port is taken.
        ValueError: the secret is empty or not base64.
    """
    sockets = listen(host, port)
    app = create_app(
        Store(db_path),
        webhook_url,
        webhook_secret,
        public_url=public_url or own_url(host, port),
        backoff_seconds=backoff_seconds,
    )
    serve(app, sockets, log_level="warning")


def own_url(host: str, port: int) -> str:
    """Where a browser on this machine finds what listens there."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # nosec B104
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def create_app(
    store: Store,
    webhook_url: str,
    webhook_secret: str,
    *,
    public_url: str,
    backoff_seconds: Sequence[float] = BACKOFF_SECONDS,
) -> Starlette:
    """The whole provider; ``store`` is closed when the server stops."""
    faults = Faults(webhook_url)
    courier = Courier(store, faults, webhook_secret, backoff_seconds)
    sandbox = v1.Sandbox(store, faults, courier, public_url.rstrip("/"))

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        tasks = [background(courier.run()), background(expire_sessions(sandbox))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            store.close()

    return Starlette(
        routes=[
            *v1.routes(sandbox),
            *scripted.routes(sandbox),
            *page.routes(sandbox),
            Route("/healthz", healthz),
        ],
        exception_handlers={HTTPException: http_error},
        lifespan=lifespan,
    )


async def healthz(_: Request) -> Response:
    return json_answer({"status": "ok"})


async def expire_sessions(sandbox: v1.Sandbox) -> None:
    """Expire sessions when their time has come, until cancelled."""
    while True:
        sandbox.expire_due(now_us())
        await asyncio.sleep(EXPIRY_TICK_SECONDS)


def background(job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run ``job`` beside the server; should it crash, the process ends rather than limp on."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a background job crashed", exc_info=error)
            os.kill(os.getpid(), signal.SIGTERM)

    task = asyncio.create_task(job)
    task.add_done_callback(ended)
    return task
