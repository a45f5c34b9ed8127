"""Passwords and addresses: chosen, changed, reset and verified."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.passwords import Argon2Passwords
from infra.settings import Settings
from tests.helpers.accounts import PASSWORD, bearer, new_email, open_account
from tests.helpers.mailed import letters_to, mailed_token, two_minutes_pass
from tests.helpers.problems import assert_problem

Client = httpx2.AsyncClient
NEW = "another three words of mine"


async def log_in(client: Client, email: str, password: str) -> httpx2.Response:
    body = {"email": email, "password": password}
    return await client.post("/api/auth/login", json=body)


async def change(client: Client, session: dict[str, Any], **body: str) -> httpx2.Response:
    body = {"current_password": PASSWORD, "new_password": NEW, **body}
    return await client.post("/api/me/password", json=body, headers=bearer(session))


async def forgot(client: Client, email: str) -> httpx2.Response:
    return await client.post("/api/auth/password/forgot", json={"email": email})


async def reset(client: Client, token: str, password: str = NEW) -> httpx2.Response:
    body = {"token": token, "password": password}
    return await client.post("/api/auth/password/reset", json=body)


async def is_let_in(client: Client, session: dict[str, Any]) -> bool:
    return (await client.get("/api/me", headers=bearer(session))).status_code == 200


async def events_of(engine: AsyncEngine, session: dict[str, Any]) -> list[tuple[str, Any]]:
    async with engine.connect() as connection:
        found = await connection.execute(
            text("SELECT event_type, payload FROM events WHERE aggregate_id = :id ORDER BY id"),
            {"id": UUID(session["user"]["id"])},
        )
        return [tuple(row) for row in found]


@pytest.mark.parametrize(
    "password",
    ["password", "Sunshine", "QWERTYUIOP", "ada.lovelace1815", "Ada Lovelace", "seathold-2026!"],
)
async def test_what_everybody_tries_first_is_no_password(client: Client, password: str) -> None:
    body = {"email": "ada.lovelace@example.test", "password": password, "name": "Ada Lovelace"}
    found = assert_problem(await client.post("/api/auth/register", json=body), 422, "invalid")
    assert [error["field"] for error in found["errors"]] == ["password"]
    assert password not in str(found) or password == "password"


async def test_passwords_need_no_mixture_and_may_be_long_and_in_any_script(client: Client) -> None:
    for password in (
        "correcthorsebatterystaple",
        "x" * 64 + "y" * 64,
        "пароль из слов",
        "🪑🎫🎬🍿🪑🎫🎬🍿",
    ):
        email = new_email()
        await open_account(client, email=email, password=password)
        assert (await log_in(client, email, password)).status_code == 200
        assert (await log_in(client, email, password[:-1])).status_code == 401, "nothing is cut off"


async def test_changing_it_ends_the_other_sessions_and_tells_the_owner(
    client: Client, engine: AsyncEngine
) -> None:
    session = await open_account(client)
    email = session["user"]["email"]
    other = (await log_in(client, email, PASSWORD)).json()
    assert (await change(client, session)).status_code == 204
    assert await is_let_in(client, session)
    assert not await is_let_in(client, other)
    assert_problem(await log_in(client, email, PASSWORD), 401, "invalid_credentials")
    assert (await log_in(client, email, NEW)).status_code == 200
    assert await letters_to(engine, session["user"]["id"]) == ["verify_email", "password_changed"]
    assert (await events_of(engine, session))[1:] == [("PasswordChanged", {})]


async def test_changing_it_needs_the_one_of_today(client: Client) -> None:
    session = await open_account(client)
    answer = await change(client, session, current_password="not the password")
    assert_problem(answer, 403, "wrong_password")
    found = assert_problem(await change(client, session, new_password="password1"), 422, "invalid")
    assert [error["field"] for error in found["errors"]] == ["new_password"]
    assert (await log_in(client, session["user"]["email"], PASSWORD)).status_code == 200


async def test_of_many_changes_at_once_one_wins(client: Client) -> None:
    session = await open_account(client)
    answers = await asyncio.gather(
        *(change(client, session, new_password=f"{NEW} {number}") for number in range(5))
    )
    assert Counter(answer.status_code for answer in answers) == {204: 1, 403: 4}


async def test_a_forgotten_password_is_reset_once_by_mail(
    client: Client, engine: AsyncEngine, settings: Settings
) -> None:
    session = await open_account(client)
    user, email = session["user"]["id"], session["user"]["email"]
    assert (await forgot(client, f" {email.upper()} ")).status_code == 202
    token = await mailed_token(engine, settings, user, "reset_password")
    answers = await asyncio.gather(*(reset(client, token) for _ in range(4)))
    assert Counter(answer.status_code for answer in answers) == {204: 1, 401: 3}
    assert not await is_let_in(client, session)
    assert_problem(await log_in(client, email, PASSWORD), 401, "invalid_credentials")
    again = (await log_in(client, email, NEW)).json()
    assert again["user"]["email_verified"], "who reads the mail has shown whose address it is"
    assert_problem(await reset(client, token), 401, "invalid_token")
    assert (await events_of(engine, session))[1:] == [("PasswordReset", {})]


@pytest.mark.parametrize("asked", ["exämple.test", "xn--exmple-cua.test"])
async def test_forgotten_is_known_by_either_spelling_of_the_domain(
    client: Client, engine: AsyncEngine, asked: str
) -> None:
    name = new_email().partition("@")[0]
    user = (await open_account(client, email=f"{name}@exämple.test"))["user"]["id"]
    assert (await forgot(client, f"{name}@{asked}")).status_code == 202
    assert await letters_to(engine, user) == ["verify_email", "reset_password"]


async def test_a_weak_choice_does_not_use_the_code_up(
    client: Client, engine: AsyncEngine, settings: Settings
) -> None:
    session = await open_account(client)
    await forgot(client, session["user"]["email"])
    token = await mailed_token(engine, settings, session["user"]["id"], "reset_password")
    assert_problem(await reset(client, token, "password1"), 422, "invalid")
    assert (await reset(client, token)).status_code == 204


async def test_a_code_that_is_over_or_made_for_something_else_resets_nothing(
    client: Client, engine: AsyncEngine, settings: Settings
) -> None:
    session = await open_account(client)
    user = session["user"]["id"]
    await forgot(client, session["user"]["email"])
    other = await mailed_token(engine, settings, user, "verify_email")
    token = await mailed_token(engine, settings, user, "reset_password")
    async with engine.begin() as connection:
        lasts = await connection.scalar(
            text(
                "UPDATE account_tokens SET expires_at = clock_timestamp()"
                " WHERE user_id = :id AND purpose = 'reset_password'"
                " RETURNING extract(epoch FROM expires_at - created_at)"
            ),
            {"id": UUID(user)},
        )
    assert lasts < 1800
    for one in (token, other, "", "x"):
        status = 422 if one == "" else 401
        assert (await reset(client, one)).status_code == status
    assert await is_let_in(client, session)


async def test_a_changed_password_makes_the_mails_of_before_worthless(
    client: Client, engine: AsyncEngine, settings: Settings
) -> None:
    session = await open_account(client)
    await forgot(client, session["user"]["email"])
    token = await mailed_token(engine, settings, session["user"]["id"], "reset_password")
    assert (await change(client, session)).status_code == 204
    assert_problem(await reset(client, token, "one more password of mine"), 401, "invalid_token")


async def test_nobody_fills_anothers_mailbox(client: Client, engine: AsyncEngine) -> None:
    session = await open_account(client)
    for _ in range(5):
        await forgot(client, session["user"]["email"])
        await client.post("/api/me/verify-email", headers=bearer(session))
    assert await letters_to(engine, session["user"]["id"]) == ["verify_email", "reset_password"]
    await two_minutes_pass(engine, session["user"]["id"])
    await forgot(client, session["user"]["email"])
    assert (await letters_to(engine, session["user"]["id"]))[2:] == ["reset_password"]


async def test_a_known_and_an_unknown_address_are_answered_alike(client: Client) -> None:
    session = await open_account(client)
    answers = [
        await forgot(client, one) for one in (session["user"]["email"], new_email(), "no address")
    ]
    told = {
        (
            answer.status_code,
            answer.content,
            tuple(sorted(name for name in answer.headers)),
        )
        for answer in answers
    }
    assert len(told) == 1
    assert answers[0].status_code == 202


async def test_an_unknown_address_costs_the_same_work(
    app: FastAPI, client: Client, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hash at log-in; one token written at a reset. How long both take:
    `make campaign-timing`."""
    session = await open_account(client)
    checked: list[bool] = []
    verify = Argon2Passwords._verify

    def counted(self: Argon2Passwords, password_hash: str | None, password: str) -> bool:
        checked.append(password_hash is None)
        return verify(self, password_hash, password)

    monkeypatch.setattr(Argon2Passwords, "_verify", counted)
    for email in (session["user"]["email"], new_email()):
        await log_in(client, email, "not the password")
    assert checked == [False, True]
    tokens = text("SELECT count(*) FROM account_tokens WHERE purpose = 'reset_password'")
    counts = []
    for email in (None, session["user"]["email"], new_email()):
        if email is not None:
            await forgot(client, email)
        async with engine.connect() as connection:
            counts.append(await connection.scalar(tokens))
    assert [later - counts[0] for later in counts] == [0, 1, 2]


async def test_an_address_is_verified_once_by_the_mail_of_its_registration(
    client: Client, engine: AsyncEngine, settings: Settings
) -> None:
    session = await open_account(client)
    assert session["user"]["email_verified"] is False
    token = await mailed_token(engine, settings, session["user"]["id"], "verify_email")
    verify = {"token": token}
    assert (await client.post("/api/auth/verify-email", json=verify)).status_code == 204
    me = (await client.get("/api/me", headers=bearer(session))).json()
    assert me["email_verified"] is True
    again = await client.post("/api/auth/verify-email", json=verify)
    assert_problem(again, 401, "invalid_token")
    assert (await events_of(engine, session))[1:] == [("EmailVerified", {})]
    await two_minutes_pass(engine, session["user"]["id"])
    asked = await client.post("/api/me/verify-email", headers=bearer(session))
    assert asked.status_code == 202
    assert await letters_to(engine, session["user"]["id"]) == ["verify_email"]


async def test_mailed_tokens_are_kept_as_hashes_and_nowhere_as_they_are(
    client: Client, engine: AsyncEngine, settings: Settings
) -> None:
    session = await open_account(client)
    token = await mailed_token(engine, settings, session["user"]["id"], "verify_email")
    async with engine.connect() as connection:
        found = await connection.execute(
            text("SELECT * FROM account_tokens WHERE user_id = :id"),
            {"id": UUID(session["user"]["id"])},
        )
        [row] = found.all()
        outbox = await connection.execute(
            text("SELECT * FROM notification_outbox WHERE reference = :id"), {"id": row.id}
        )
        told = str(row) + str(outbox.all())
    assert len(row.token_hash) == 32
    assert token not in told


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/auth/password/forgot", {"email": "nobody@example.test"}),
        ("/api/auth/password/reset", {"token": "x", "password": NEW}),
        ("/api/auth/verify-email", {"token": "x"}),
        ("/api/auth/refresh", {"refresh_token": "x"}),
        ("/api/auth/logout", {"refresh_token": "x"}),
    ],
)
async def test_routes_with_credentials_store_no_answer(
    client: Client, engine: AsyncEngine, path: str, body: dict[str, str]
) -> None:
    headers = {"Idempotency-Key": "the same key"}
    first, second = [await client.post(path, json=body, headers=headers) for _ in range(2)]
    assert first.status_code == second.status_code
    assert "idempotent-replayed" not in second.headers
    async with engine.connect() as connection:
        kept = await connection.scalar(
            text("SELECT count(*) FROM idempotency_keys WHERE route = :route"),
            {"route": f"POST {path}"},
        )
    assert kept == 0
