"""Accounts: register and log in."""

from __future__ import annotations

import asyncio
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from infra.passwords import Argon2Passwords
from tests.helpers.accounts import PASSWORD, bearer, client_of, new_email, open_account
from tests.helpers.problems import assert_problem

Client = httpx2.AsyncClient


async def test_registering_opens_an_account_and_logs_in(client: Client) -> None:
    email = new_email()
    session = await open_account(
        client, email=email, name="  Ada Lovelace ", phone="+49 151/123-45"
    )

    assert session["token_type"] == "Bearer"
    assert session["expires_in"] == 600
    assert session["user"] == {
        "id": session["user"]["id"],
        "email": email,
        "email_verified": False,
        "name": "Ada Lovelace",
        "phone": "+4915112345",
        "locale": "en",
        "notifications": {"email": True, "sms": True},
        "second_factor": False,
        "role": "user",
        "created_at": session["user"]["created_at"],
    }
    me = await client.get("/api/me", headers=bearer(session))
    assert me.status_code == 200
    assert me.json() == session["user"]
    assert me.headers["cache-control"] == "no-store"


async def test_an_account_is_an_event_that_names_nobody(
    client: Client, engine: AsyncEngine
) -> None:
    email = new_email()
    user = (await open_account(client, email=email))["user"]
    async with engine.connect() as connection:
        found = await connection.execute(
            text("SELECT event_type, sequence, payload FROM events WHERE aggregate_id = :id"),
            {"id": UUID(user["id"])},
        )
        [event] = found.all()
    assert tuple(event) == ("UserRegistered", 1, {"user_id": user["id"]})


async def test_an_address_has_one_account_however_it_is_spelt(client: Client) -> None:
    email = new_email()
    await open_account(client, email=email)
    again = {"email": email.upper(), "password": PASSWORD, "name": "Eve"}
    assert_problem(await client.post("/api/auth/register", json=again), 409, "email_taken")


@pytest.mark.parametrize("spelled", ["exämple.test", "xn--exmple-cua.test"])
async def test_a_domain_may_be_written_in_its_own_letters_or_in_ascii(
    client: Client, spelled: str
) -> None:
    name = new_email().partition("@")[0]
    user = (await open_account(client, email=f"{name}@{spelled}"))["user"]
    for domain in ("exämple.test", "xn--exmple-cua.test", "XN--EXMPLE-CUA.test", "EXÄMPLE.test"):
        body = {"email": f"{name}@{domain}", "password": PASSWORD}
        answer = await client.post("/api/auth/login", json=body)
        assert answer.status_code == 200, domain
        assert answer.json()["user"] == user
        again = {**body, "name": "Eve"}
        assert_problem(await client.post("/api/auth/register", json=again), 409, "email_taken")


async def test_domains_that_differ_by_a_letter_are_two(client: Client) -> None:
    name = new_email().partition("@")[0]
    users = [
        (await open_account(client, email=f"{name}@{domain}"))["user"]
        for domain in ("straße.test", "strasse.test")
    ]
    for user, domain in zip(users, ("xn--strae-oqa.test", "strasse.test"), strict=True):
        body = {"email": f"{name}@{domain}", "password": PASSWORD}
        assert (await client.post("/api/auth/login", json=body)).json()["user"] == user


@pytest.mark.parametrize("domain", ["xn--ä.test", "xn--9.test", "xn--ib9b.test", "a..b"])
async def test_a_domain_that_cannot_be_is_not_known(client: Client, domain: str) -> None:
    body = {"email": f"ada@{domain}", "password": PASSWORD}
    answer = await client.post("/api/auth/login", json=body)
    assert_problem(answer, 401, "invalid_credentials")


async def test_of_many_who_register_one_address_at_once_one_succeeds(client: Client) -> None:
    body = {"email": new_email(), "password": PASSWORD, "name": "Ada"}
    answers = await asyncio.gather(
        *(client.post("/api/auth/register", json=body) for _ in range(10))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"email": "no-at-sign"}, "email"),
        ({"email": "a@b"}, "email"),
        ({"email": "a b@example.test"}, "email"),
        ({"email": "a@example.test\r\nBcc: b@example.test"}, "email"),
        ({"email": "x" * 300 + "@example.test"}, "email"),
        ({"email": 7}, "email"),
        ({"password": "short12"}, "password"),
        ({"password": "x" * 129}, "password"),
        ({"password": None}, "password"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "Ada\r\nBcc: eve"}, "name"),
        ({"phone": "call me"}, "phone"),
        ({"phone": "+1"}, "phone"),
        ({"role": "admin"}, "role"),
        ({"id": "6d0f3f52-3c4b-4c0e-9a53-8c1f4a0a7b11"}, "id"),
    ],
)
async def test_what_cannot_be_an_account_is_invalid(
    client: Client, changes: dict[str, object], field: str
) -> None:
    body = {"email": new_email(), "password": PASSWORD, "name": "Ada", **changes}
    found = assert_problem(await client.post("/api/auth/register", json=body), 422, "invalid")
    assert [error["field"] for error in found["errors"]] == [field]
    assert PASSWORD not in str(found)


async def test_logging_in_takes_the_address_in_any_case(client: Client) -> None:
    email = new_email()
    user = (await open_account(client, email=email))["user"]
    answer = await client.post(
        "/api/auth/login", json={"email": f" {email.title()} ", "password": PASSWORD}
    )
    assert answer.status_code == 200
    assert answer.json()["user"] == user


async def test_a_wrong_password_and_an_unknown_address_are_answered_alike(client: Client) -> None:
    email = new_email()
    await open_account(client, email=email)
    answers = [
        assert_problem(
            await client.post("/api/auth/login", json={"email": one, "password": "wrong password"}),
            401,
            "invalid_credentials",
        )
        for one in (email, new_email(), "not an address")
    ]
    for answer in answers:
        del answer["request_id"]
    assert answers[0] == answers[1] == answers[2]


async def test_each_log_in_is_logged_with_its_outcome_and_nobodys_address(client: Client) -> None:
    email = new_email()
    session = await open_account(client, email=email)
    with capture_logs() as logs:
        for password in (PASSWORD, "wrong password"):
            body = {"email": email, "password": password}
            await client.post("/api/auth/login", json=body)
    told = [line for line in logs if line["event"].startswith("login")]
    for line in told:
        del line["log_level"]
    assert told == [
        {
            "event": "login",
            "user_id": session["user"]["id"],
            "role": "user",
            "second_factor": False,
        },
        {"event": "login_refused", "reason": "invalid_credentials"},
    ]
    assert not {email, PASSWORD, "wrong password"} & set(str(logs).split("'"))


async def test_passwords_are_kept_as_argon2id(client: Client, engine: AsyncEngine) -> None:
    user = (await open_account(client))["user"]
    async with engine.connect() as connection:
        kept = await connection.scalar(
            text("SELECT password_hash FROM users WHERE id = :id"), {"id": UUID(user["id"])}
        )
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_an_older_hash_is_replaced_at_login(client: Client, engine: AsyncEngine) -> None:
    from argon2 import PasswordHasher

    email = new_email()
    user_id = UUID((await open_account(client, email=email))["user"]["id"])
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE users SET password_hash = :weak WHERE id = :id"),
            {"weak": weak, "id": user_id},
        )
    login = {"email": email, "password": PASSWORD}
    assert (await client.post("/api/auth/login", json=login)).status_code == 200
    async with engine.connect() as connection:
        kept = await connection.scalar(
            text("SELECT password_hash FROM users WHERE id = :id"), {"id": user_id}
        )
    assert "m=19456,t=2" in kept
    assert (await client.post("/api/auth/login", json=login)).status_code == 200


async def test_more_logins_than_the_threads_can_take_are_turned_away(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = Argon2Passwords(workers=1, max_waiting=1)
    monkeypatch.setattr(app.state.parts.accounts, "_passwords", passwords)
    body = {"email": new_email(), "password": PASSWORD}
    async with client_of(app) as client:
        answers = await asyncio.gather(
            *(client.post("/api/auth/login", json=body) for _ in range(12))
        )
    passwords.close()
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 0 < len(refused) < len(answers)
    for answer in refused:
        assert_problem(answer, 429, "rate_limited")
        assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("path", "more"), [("/api/auth/login", {}), ("/api/auth/register", {"name": "Ada"})]
)
async def test_who_finds_the_line_at_the_door_full_is_turned_away(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, path: str, more: dict[str, str]
) -> None:
    monkeypatch.setattr(app.state.parts.door, "_most", 2)
    async with client_of(app) as client:
        answers = await asyncio.gather(
            *(
                client.post(path, json={"email": new_email(), "password": PASSWORD, **more})
                for _ in range(12)
            )
        )
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 0 < len(refused) < len(answers)
    for answer in refused:
        assert_problem(answer, 429, "rate_limited")
        assert int(answer.headers["retry-after"]) > 0


async def test_answers_with_credentials_ignore_an_idempotency_key(
    client: Client, engine: AsyncEngine
) -> None:
    session = await open_account(client)
    login = {"email": session["user"]["email"], "password": PASSWORD}
    headers = {"Idempotency-Key": "k"}
    first, second = [
        (await client.post("/api/auth/login", json=login, headers=headers)) for _ in range(2)
    ]
    assert first.json()["refresh_token"] != second.json()["refresh_token"]
    assert "idempotent-replayed" not in second.headers


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer x", "Basic YTpi", "Bearer a.b.c", "Bearer a.b.c d"],
)
async def test_without_a_token_nobody_is_asking(client: Client, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = await client.get("/api/me", headers=headers)
    assert_problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_token_of_an_erased_account_is_refused(app: FastAPI, client: Client) -> None:
    token = app.state.parts.signer.issue(UUID(int=7), "user", UUID(int=7))
    answer = await client.get("/api/me", headers={"Authorization": f"Bearer {token}"})
    assert_problem(answer, 401, "unauthenticated")
