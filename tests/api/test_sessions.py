"""Sessions: renewed by rotation, listed, ended; an ended one opens nothing a second later."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import Unauthenticated
from infra import ended_sessions
from infra.keys import KeyRing
from infra.opaque_tokens import OpaqueTokens
from infra.postgres.session import MOST_SESSIONS
from services.session import SignedIn
from tests.helpers.accounts import PASSWORD, bearer, open_account, open_staff
from tests.helpers.problems import assert_problem

Client = httpx2.AsyncClient
END = text("UPDATE sessions SET ended_at = clock_timestamp() WHERE id = :id")


async def refresh(client: Client, token: str) -> httpx2.Response:
    return await client.post("/api/auth/refresh", json={"refresh_token": token})


async def log_in(client: Client, session: dict[str, Any], **headers: str) -> dict[str, Any]:
    body = {"email": session["user"]["email"], "password": PASSWORD}
    answer = await client.post("/api/auth/login", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    opened: dict[str, Any] = answer.json()
    return opened


async def is_let_in(client: Client, session: dict[str, Any]) -> bool:
    answer = await client.get("/api/me", headers=bearer(session))
    if answer.status_code == 200:
        return True
    assert_problem(answer, 401, "unauthenticated")
    return False


async def rows_of(engine: AsyncEngine, session: dict[str, Any]) -> list[Any]:
    async with engine.connect() as connection:
        found = await connection.execute(
            text("SELECT * FROM sessions WHERE user_id = :id ORDER BY created_at"),
            {"id": UUID(session["user"]["id"])},
        )
        return list(found.all())


async def test_refreshing_rotates_the_token(client: Client) -> None:
    session = await open_account(client)
    answer = await refresh(client, session["refresh_token"])
    assert answer.status_code == 200
    renewed = answer.json()
    assert renewed["user"] == session["user"]
    assert renewed["refresh_token"] != session["refresh_token"]
    assert await is_let_in(client, renewed)


async def test_using_a_rotated_token_again_ends_its_session_and_no_other(
    client: Client, engine: AsyncEngine
) -> None:
    session = await open_account(client)
    other = await log_in(client, session)
    renewed = (await refresh(client, session["refresh_token"])).json()

    assert_problem(await refresh(client, session["refresh_token"]), 401, "invalid_token")
    assert_problem(await refresh(client, renewed["refresh_token"]), 401, "invalid_token")
    assert not await is_let_in(client, renewed)
    assert (await refresh(client, other["refresh_token"])).status_code == 200
    reused, _ = await rows_of(engine, session)
    assert reused.end_reason == "reuse"
    async with engine.connect() as connection:
        noted = await connection.scalar(
            text("SELECT action FROM audit_log WHERE target = :target"),
            {"target": f"session:{reused.id}"},
        )
    assert noted == "session.reuse"


async def test_of_a_thousand_refreshes_of_one_token_at_once_one_has_a_successor(
    app: FastAPI, client: Client, engine: AsyncEngine
) -> None:
    session = await open_account(client)
    sessions = app.state.parts.sessions
    answers = await asyncio.gather(
        *(sessions.refresh(session["refresh_token"]) for _ in range(1000)), return_exceptions=True
    )
    kinds = Counter(type(answer) for answer in answers)
    assert kinds[SignedIn] == 1
    # On a busy machine some get no connection in time: they are told to come back.
    assert kinds.keys() <= {SignedIn, Unauthenticated, psycopg.OperationalError}
    [row] = await rows_of(engine, session)
    assert row.end_reason == "reuse", "two hold the token, and one of them is not its owner"


@pytest.mark.parametrize("end", ["idle_expires_at", "expires_at"])
async def test_a_session_that_is_over_is_not_renewed(
    client: Client, engine: AsyncEngine, end: str
) -> None:
    session = await open_account(client)
    async with engine.begin() as connection:
        await connection.execute(
            text(f"UPDATE sessions SET {end} = clock_timestamp() WHERE user_id = :id"),  # noqa: S608
            {"id": UUID(session["user"]["id"])},
        )
    assert_problem(await refresh(client, session["refresh_token"]), 401, "invalid_token")


async def test_a_refresh_puts_off_the_idle_end_and_never_the_last_one(
    app: FastAPI, client: Client, engine: AsyncEngine
) -> None:
    settings = app.state.parts.settings
    session = await open_account(client)
    [opened] = await rows_of(engine, session)
    lasts = (opened.expires_at - opened.created_at).total_seconds()
    assert lasts == pytest.approx(settings.session_seconds, abs=1)
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE sessions SET expires_at = now() + interval '99 s' WHERE id = :id"),
            {"id": opened.id},
        )
    renewed = (await refresh(client, session["refresh_token"])).json()
    [row] = await rows_of(engine, session)
    assert row.idle_expires_at == row.expires_at, "the idle end is capped by the last one"
    assert renewed["expires_in"] <= 99, "and so is the access token"


async def test_logging_out_ends_the_session_and_may_be_repeated(client: Client) -> None:
    session = await open_account(client)
    for _ in range(2):
        answer = await client.post(
            "/api/auth/logout", json={"refresh_token": session["refresh_token"]}
        )
        assert answer.status_code == 204
        assert answer.content == b""
    assert_problem(await refresh(client, session["refresh_token"]), 401, "invalid_token")
    assert not await is_let_in(client, session)


@pytest.mark.parametrize("path", ["refresh", "logout"])
@pytest.mark.parametrize("token", ["unknown", "ü", "x" * 512, "x" * 86, "=" * 86])
async def test_a_token_that_never_was_is_refused(client: Client, path: str, token: str) -> None:
    answer = await client.post(f"/api/auth/{path}", json={"refresh_token": token})
    assert_problem(answer, 401, "invalid_token")


async def test_nobody_ends_a_session_by_inventing_a_token_of_it(
    client: Client, engine: AsyncEngine
) -> None:
    session = await open_account(client)
    [row] = await rows_of(engine, session)
    stranger = OpaqueTokens(KeyRing("another seed"))
    invented = stranger.new_refresh(row.id)
    assert stranger.session_of(invented) == row.id, "the control: it is well made"
    own = session["refresh_token"]
    # Well spelt both, so the seal alone tells: the last character stands for two bits.
    changed = own[:-1] + ("A" if own[-1] != "A" else "Q")
    for token in (invented, changed, own + "="):
        assert_problem(await refresh(client, token), 401, "invalid_token")
    assert await is_let_in(client, session)
    assert (await refresh(client, own)).status_code == 200


async def test_of_too_many_sessions_the_oldest_ends(client: Client, engine: AsyncEngine) -> None:
    account, other = await open_account(client), await open_account(client)
    one = (await rows_of(engine, account))[0]
    older = text(
        "INSERT INTO sessions (id, user_id, token_hash, created_at, idle_expires_at, expires_at,"
        " ended_at) SELECT gen_random_uuid(), user_id, token_hash, created_at - number * :apart,"
        " idle_expires_at - :idle, expires_at, ended_at"
        " FROM sessions, generate_series(1, :count) AS number WHERE id = :id"
    )
    hour, day = timedelta(hours=1), timedelta(days=1)
    async with engine.begin() as connection:
        # Those that nobody can use any more do not count, however new.
        over = {"id": one.id, "count": 60, "apart": timedelta(0), "idle": 30 * day}
        await connection.execute(older, over)
        live = {"id": one.id, "count": MOST_SESSIONS - 2, "apart": hour, "idle": timedelta(0)}
        await connection.execute(older, live)
    await log_in(client, account)

    async def ended() -> list[Any]:
        rows = await rows_of(engine, account)
        return [row for row in rows if row.end_reason == "surplus"]

    assert await ended() == [], "the control: there are as many as there may be"
    newest = await log_in(client, account)
    [oldest] = await ended()
    assert oldest.created_at == one.created_at - (MOST_SESSIONS - 2) * hour
    for session in (account, newest, other):
        assert await is_let_in(client, session)


async def test_a_log_in_of_the_staff_stands_in_the_audit_log_with_its_session(
    client: Client, engine: AsyncEngine
) -> None:
    member, buyer = await open_staff(client, engine), await open_account(client)
    headers = {"X-Request-Id": "in-the-morning"}
    again = {"email": member["user"]["email"], "password": PASSWORD}
    assert (await client.post("/api/auth/login", json=again, headers=headers)).is_success
    await log_in(client, buyer)
    wrong = await client.post("/api/auth/login", json={**again, "password": "not this one"})
    assert wrong.status_code == 401
    query = text(
        "SELECT * FROM audit_log WHERE actor = :who AND action = 'session.open' ORDER BY id"
    )
    async with engine.connect() as connection:
        first, second = await connection.execute(query, {"who": member["user"]["id"]})
        assert (await connection.execute(query, {"who": buyer["user"]["id"]})).all() == []
    _, opened, last = await rows_of(engine, member)
    assert [first.target, second.target] == [f"session:{opened.id}", f"session:{last.id}"]
    assert (second.role, second.details) == ("owner", {"second_factor": False})
    assert second.request_id == "in-the-morning"


async def test_secrets_are_not_stored_as_they_are(client: Client, engine: AsyncEngine) -> None:
    session = await open_account(client)
    [row] = await rows_of(engine, session)
    assert session["refresh_token"].encode() not in bytes(row.token_hash)
    assert len(row.token_hash) == 32


async def end(
    client: Client, session: dict[str, Any], other: object | None, password: str = PASSWORD
) -> httpx2.Response:
    body = {"password": password} | ({"session_id": str(other)} if other else {})
    return await client.post("/api/me/sessions/end", json=body, headers=bearer(session))


async def test_people_see_their_sessions_in_our_words(client: Client) -> None:
    session = await open_account(client)
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0 Ada-Lovelace"
    second = await log_in(client, session, **{"User-Agent": agent})
    listed = (await client.get("/api/me/sessions", headers=bearer(second))).json()
    assert listed["next"] is None
    newest, oldest = listed["items"]
    assert (newest["client"], newest["current"]) == ("Firefox on Linux", True)
    assert oldest["current"] is False
    assert "Ada" not in str(listed)


async def test_one_session_is_ended_from_another(client: Client) -> None:
    first = await open_account(client)
    second = await log_in(client, first)
    listed = (await client.get("/api/me/sessions", headers=bearer(second))).json()["items"]
    [other] = [one["id"] for one in listed if not one["current"]]
    refused = await end(client, second, other, password="not the password")
    assert_problem(refused, 403, "wrong_password")
    assert await is_let_in(client, first)
    assert (await end(client, second, other)).status_code == 204
    assert not await is_let_in(client, first)
    assert await is_let_in(client, second)
    assert_problem(await end(client, second, other), 404, "not_found")


async def test_a_session_of_somebody_else_is_not_found(client: Client, engine: AsyncEngine) -> None:
    mine, theirs = await open_account(client), await open_account(client)
    [row] = await rows_of(engine, theirs)
    for id_ in (row.id, uuid4()):
        assert_problem(await end(client, mine, id_), 404, "not_found")
    assert await is_let_in(client, theirs)


async def test_logging_out_everywhere_ends_them_all(client: Client) -> None:
    first = await open_account(client)
    second = await log_in(client, first)
    stranger = await open_account(client)
    refused = await end(client, second, None, password="not the password")
    assert_problem(refused, 403, "wrong_password")
    assert (await end(client, second, None)).status_code == 204
    assert not await is_let_in(client, first)
    assert not await is_let_in(client, second)
    assert_problem(await refresh(client, first["refresh_token"]), 401, "invalid_token")
    assert await is_let_in(client, stranger)


async def test_a_blocked_account_logs_in_nowhere(client: Client, engine: AsyncEngine) -> None:
    session = await open_account(client)
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE users SET blocked_at = clock_timestamp() WHERE id = :id"),
            {"id": UUID(session["user"]["id"])},
        )
    body = {"email": session["user"]["email"], "password": PASSWORD}
    answer = await client.post("/api/auth/login", json=body)
    assert_problem(answer, 403, "account_blocked")
    body["password"] = "not the password"
    answer = await client.post("/api/auth/login", json=body)
    assert_problem(answer, 401, "invalid_credentials")


async def test_a_session_ended_by_another_process_is_refused_on_word_of_the_database(
    client: Client, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await open_account(client)
    assert await is_let_in(client, session)
    [row] = await rows_of(engine, session)
    async with engine.begin() as connection:
        await connection.execute(END, {"id": row.id})
    # A second has passed: what the process knew is too old to be trusted.
    monkeypatch.setattr(ended_sessions, "MAX_AGE_SECONDS", 0.0)
    assert not await is_let_in(client, session)
