"""The whole API in this process, on real servers, and people who use it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from api.app import create_app
from infra.settings import Settings
from tests.helpers.accounts import RegisterUser, bearer, client_of, open_account, open_staff


@pytest.fixture(scope="session")
async def app(settings: Settings, engine: AsyncEngine, redis: Redis) -> AsyncIterator[FastAPI]:
    """Started; its parts are in ``app.state.parts``."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app) as client:
        yield client


@pytest.fixture(scope="module")
async def owner(app: FastAPI, engine: AsyncEngine) -> dict[str, str]:
    """The bearer, good for ten minutes, of an account that may do whatever staff may."""
    async with client_of(app) as client:
        return bearer(await open_staff(client, engine))


@pytest.fixture
def register_user(client: httpx2.AsyncClient) -> RegisterUser:
    """``user, headers = await register_user()``: a new account and its bearer."""

    async def register() -> tuple[dict[str, Any], dict[str, str]]:
        session = await open_account(client)
        return session["user"], bearer(session)

    return register
