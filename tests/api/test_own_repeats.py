"""An ``Idempotency-Key`` on what one does with one's own account, where no answer is a secret."""

from __future__ import annotations

from uuid import UUID, uuid4

import httpx2
import orjson
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from api import openapi
from api.commands.idempotency import canonical_hash
from tests.helpers.accounts import PASSWORD, bearer, open_account
from tests.helpers.mailed import letters_to, two_minutes_pass
from tests.helpers.problems import assert_problem

NEW = "another three words of mine"
WITH_SECRETS = {"/api/me/totp", "/api/me/totp/confirm"}


async def test_a_password_is_changed_once_and_the_repeat_is_told_so(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    """Without the key the repeat's current password is wrong by now: 403 for what was done."""
    session = await open_account(client)
    body = {"current_password": PASSWORD, "new_password": NEW}
    keyed = {**bearer(session), "Idempotency-Key": uuid4().hex}

    async def change(headers: dict[str, str], **other: str) -> httpx2.Response:
        return await client.post("/api/me/password", json={**body, **other}, headers=headers)

    assert (await change(keyed)).status_code == 204
    again = await change(keyed)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (204, "true")
    other = await change(keyed, new_password="three other words of mine")
    assert_problem(other, 422, "idempotency_key_reused")
    assert_problem(await change(bearer(session)), 403, "wrong_password")
    async with engine.connect() as connection:
        kept = await connection.execute(
            text("SELECT body_hash FROM idempotency_keys WHERE user_id = :id"),
            {"id": UUID(session["user"]["id"])},
        )
        [[body_hash]] = kept
    guess = orjson.dumps(body)
    assert bytes(body_hash) != canonical_hash(guess), "a stolen row would tell a guesser"


async def test_a_repeat_mails_no_second_code(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    session = await open_account(client)
    user_id, path = session["user"]["id"], "/api/me/verify-email"
    await two_minutes_pass(engine, user_id)
    keyed = {**bearer(session), "Idempotency-Key": uuid4().hex}
    assert (await client.post(path, headers=keyed)).status_code == 202
    await two_minutes_pass(engine, user_id)
    again = await client.post(path, headers=keyed)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert await letters_to(engine, user_id) == ["verify_email"] * 2
    assert (await client.post(path, headers=bearer(session))).status_code == 202
    assert await letters_to(engine, user_id) == ["verify_email"] * 3, "the control"


async def test_ending_a_session_may_be_repeated(client: httpx2.AsyncClient) -> None:
    session = await open_account(client)
    body = {"password": PASSWORD, "session_id": str(uuid4())}
    keyed = {**bearer(session), "Idempotency-Key": uuid4().hex}
    first = await client.post("/api/me/sessions/end", json=body, headers=keyed)
    again = await client.post("/api/me/sessions/end", json=body, headers=keyed)
    assert again.status_code == first.status_code
    assert again.headers["idempotent-replayed"] == "true"


def test_only_answers_with_secrets_are_never_kept(app: FastAPI) -> None:
    without = {
        path
        for path, methods in openapi.document(app)["paths"].items()
        if path.startswith("/api/me/") and "post" in methods
        if all(one["name"] != "Idempotency-Key" for one in methods["post"].get("parameters", ()))
    }
    assert without == WITH_SECRETS


async def test_a_secret_is_not_kept_for_a_repeat(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    session = await open_account(client)
    keyed = {**bearer(session), "Idempotency-Key": uuid4().hex}
    for _ in range(2):
        begun = await client.post("/api/me/totp", json={"password": PASSWORD}, headers=keyed)
        assert begun.status_code == 201
        assert "idempotent-replayed" not in begun.headers
    async with engine.connect() as connection:
        kept = await connection.execute(
            text("SELECT count(*) FROM idempotency_keys WHERE user_id = :id"),
            {"id": UUID(session["user"]["id"])},
        )
        assert kept.scalar_one() == 0
