"""The API under other settings, and clients from anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from fastapi import FastAPI

from api.app import create_app
from infra.settings import Settings

QUOTA = 7


@asynccontextmanager
async def started(settings: Settings, **changes: object) -> AsyncIterator[FastAPI]:
    """The app with other settings."""
    app = create_app(settings.model_copy(update=changes))
    async with app.router.lifespan_context(app):
        yield app


def client_from(app: FastAPI, address: str, **headers: str) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app, client=(address, 50_000))
    return httpx2.AsyncClient(
        transport=transport, base_url="http://api.test", timeout=20, headers=headers
    )
