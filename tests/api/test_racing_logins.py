"""A log-in that has checked an account when the account becomes another opens no session."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pyotp
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.user import Role
from services.staff import Act
from services.user import Credentials
from tests.helpers.accounts import PASSWORD, bearer, open_account, open_staff
from tests.helpers.eventually import eventually
from tests.helpers.problems import assert_problem

Client = httpx2.AsyncClient
Json = dict[str, Any]
WAITS = text("""
SELECT 1 FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND query LIKE '%FROM users WHERE id%FOR SHARE%'
  AND :mine = ANY(pg_blocking_pids(pid))
""")


async def change_the_password(client: Client, session: Json) -> None:
    body = {"current_password": PASSWORD, "new_password": "another three words of mine"}
    answer = await client.post("/api/me/password", json=body, headers=bearer(session))
    assert answer.status_code == 204


async def confirm_a_factor(client: Client, session: Json) -> None:
    headers = bearer(session)
    begun = await client.post("/api/me/totp", json={"password": PASSWORD}, headers=headers)
    code = {"code": pyotp.TOTP(begun.json()["secret"]).now()}
    answer = await client.post("/api/me/totp/confirm", json=code, headers=headers)
    assert answer.status_code == 200


async def nothing(client: Client, session: Json) -> None:
    """The control."""


async def about_to_open(app: FastAPI, session: Json) -> Callable[[], Awaitable[Any]]:
    """A log-in that has checked the password; calling it opens its session."""
    accounts, sessions = app.state.parts.accounts, app.state.parts.sessions
    known: Credentials = await accounts._checked(session["user"]["email"], PASSWORD)
    new = sessions.prepare(None, second_factor=known.user.second_factor)
    return lambda: sessions.open(known.user, new, password_hash=known.password_hash)


@pytest.mark.parametrize(
    ("change", "opens"),
    [(change_the_password, False), (confirm_a_factor, False), (nothing, True)],
)
async def test_no_session_opens_with_what_was_before_a_change(
    app: FastAPI,
    client: Client,
    change: Callable[[Client, Json], Awaitable[None]],
    opens: bool,
) -> None:
    session = await open_account(client)
    open_late = await about_to_open(app, session)
    await change(client, session)
    assert (await open_late() is not None) is opens


async def test_no_session_opens_with_a_role_that_was_taken_away(
    app: FastAPI, client: Client, engine: AsyncEngine
) -> None:
    session = await open_staff(client, engine, Role.MANAGER)
    act = Act(uuid4(), "left", None)
    open_late = await about_to_open(app, session)
    await app.state.parts.staff.give_role(UUID(session["user"]["id"]), Role.SCANNER, act)
    assert await open_late() is None
    body = {"email": session["user"]["email"], "password": PASSWORD}
    again = (await client.post("/api/auth/login", json=body)).json()
    assert app.state.parts.signer.verify(again["access_token"]).role == Role.SCANNER


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE second_factors SET confirmed_at = clock_timestamp() WHERE user_id = :id",
        "UPDATE users SET role = 'user' WHERE id = :id",
        "UPDATE users SET password_hash = 'x' WHERE id = :id",
    ],
)
async def test_one_that_waits_for_the_change_reads_what_it_left(
    app: FastAPI, client: Client, engine: AsyncEngine, change: str
) -> None:
    session = await open_staff(client, engine, Role.MANAGER)
    mine = {"id": UUID(session["user"]["id"])}
    await client.post("/api/me/totp", json={"password": PASSWORD}, headers=bearer(session))
    open_late = await about_to_open(app, session)
    async with engine.connect() as connection:
        held = await connection.scalar(
            text("SELECT pg_backend_pid() FROM users WHERE id = :id FOR UPDATE"), mine
        )
        late = asyncio.ensure_future(open_late())

        async def waits() -> bool:
            async with engine.connect() as other:
                return await other.scalar(WAITS, {"mine": held}) is not None

        await eventually(waits, message="it did not wait for the account")
        assert (await connection.execute(text(change), mine)).rowcount == 1
        await connection.commit()
        assert await late is None


async def test_a_log_in_that_meets_its_own_enrolment_is_asked_for_the_code(
    app: FastAPI, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await open_account(client)
    accounts = app.state.parts.accounts
    checked, met = accounts._checked, 0

    async def enrolled_meanwhile(email: str, password: str) -> Credentials:
        nonlocal met
        known: Credentials = await checked(email, password)
        met += 1
        if met == 1:
            await confirm_a_factor(client, session)
        return known

    monkeypatch.setattr(accounts, "_checked", enrolled_meanwhile)
    body = {"email": session["user"]["email"], "password": PASSWORD}
    answer = await client.post("/api/auth/login", json=body)
    assert_problem(answer, 401, "second_factor_required")
    assert met == 2
