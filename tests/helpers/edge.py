"""The API under other settings, and clients from anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import cast

import httpx2
from fastapi import FastAPI
from starlette.types import ASGIApp

from api.app import create_app
from infra.settings import Settings

QUOTA = 7


@asynccontextmanager
async def started(settings: Settings, **changes: object) -> AsyncIterator[FastAPI]:
    """The app with other settings."""
    app = create_app(settings.model_copy(update=changes))
    async with app.router.lifespan_context(app):
        yield app


def client_from(app: ASGIApp, address: str, **headers: str) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app, client=(address, 50_000))
    return httpx2.AsyncClient(
        transport=transport, base_url="http://api.test", timeout=20, headers=headers
    )


async def status_from(app: FastAPI, address: str, path: str, body: bytes) -> int:
    """Of a POST, without a client between: for thousands of them."""
    status = 0
    message = {"type": "http.request", "body": body, "more_body": False}

    async def receive() -> dict[str, object]:
        return message

    async def send(answer: MutableMapping[str, object]) -> None:
        nonlocal status
        if answer["type"] == "http.response.start":
            status = cast("int", answer["status"])

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"host", b"api.test"),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ],
        "client": (address, 50_000),
        "server": ("api.test", 80),
    }
    await app(scope, receive, send)
    return status
