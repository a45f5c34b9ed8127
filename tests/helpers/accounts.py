"""People who use the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeAlias
from uuid import uuid4

import httpx2
import orjson
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from api import openapi
from domain.user import Role, email_key
from tests.helpers.closed import Closed

RegisterUser: TypeAlias = Callable[[], Awaitable[tuple[dict[str, Any], dict[str, str]]]]

GIVE_ROLE = text("UPDATE users SET role = :role WHERE email_key = :key")
PASSWORD = "three words make a password"


def client_of(app: FastAPI) -> httpx2.AsyncClient:
    """A client of an app in this process, which must have been started.

    It fails on an answer that says more than the app's document.
    """
    schemas = Closed(openapi.document(app))

    async def says_what_is_named(answer: httpx2.Response) -> None:
        is_json = answer.headers.get("content-type") == "application/json"
        if answer.is_success and is_json and answer.request.method != "HEAD":
            body = orjson.loads(await answer.aread())
            asked = answer.request
            found = schemas.unnamed(asked.method, asked.url.path, answer.status_code, body)
            assert not found, found

    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app),
        base_url="http://api.test",
        timeout=20,
        event_hooks={"response": [says_what_is_named]},
    )


async def open_account(client: httpx2.AsyncClient, **changes: object) -> dict[str, Any]:
    """What ``register`` answers; the address is new unless given."""
    body = {"email": new_email(), "password": PASSWORD, "name": "Ada Lovelace", **changes}
    answer = await client.post("/api/auth/register", json=body)
    assert answer.status_code == 201, answer.text
    session: dict[str, Any] = answer.json()
    return session


async def open_staff(
    client: httpx2.AsyncClient, engine: AsyncEngine, role: Role = Role.OWNER
) -> dict[str, Any]:
    """What ``login`` answers to a new account that was given the role."""
    email = (await open_account(client))["user"]["email"]
    async with engine.begin() as connection:
        await connection.execute(GIVE_ROLE, {"role": role, "key": email_key(email)})
    answer = await client.post("/api/auth/login", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    session: dict[str, Any] = answer.json()
    return session


def bearer(session: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {session['access_token']}"}


@contextmanager
def replaced_parts(app: FastAPI, **changes: object) -> Iterator[None]:
    """The app with other parts, for as long as the block lasts."""
    kept = app.state.parts
    app.state.parts = replace(kept, **changes)
    try:
        yield
    finally:
        app.state.parts = kept


def new_email() -> str:
    return f"{uuid4().hex}@example.test"
