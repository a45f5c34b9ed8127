"""Partners' API keys: shown once, kept as a hash, rotated with an overlap, over when they end."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from infra.api_keys import MAX_AGE_SECONDS, ApiKeys
from infra.postgres.database import Database
from tests.helpers.accounts import RegisterUser, bearer, open_account
from tests.helpers.problems import assert_problem
from tests.stack.person import in_tables

PATH = "/api/admin/api-keys"
WHY = {"reason": "The contract of 24 November."}
Headers = dict[str, str]
Json = dict[str, Any]


@pytest.fixture
async def partner(register_user: RegisterUser) -> Json:
    user, _ = await register_user()
    return user


async def make(
    client: httpx2.AsyncClient, owner: Headers, partner: Json, **changes: Any
) -> httpx2.Response:
    body = {"account_id": partner["id"], "name": "Machines", "scopes": ["bookings:read"], **WHY}
    return await client.post(PATH, json={**body, **changes}, headers=owner)


async def use(client: httpx2.AsyncClient, partner: Json, key: str) -> httpx2.Response:
    path = f"/api/booking/user/{partner['id']}"
    return await client.get(path, headers={"X-API-Key": key})


async def test_a_key_is_shown_once_and_kept_as_a_hash(
    client: httpx2.AsyncClient, engine: AsyncEngine, owner: Headers, partner: Json
) -> None:
    sent = {**owner, "Idempotency-Key": uuid4().hex}
    made = await make(client, sent, partner)
    assert made.status_code == 201, made.text
    key, id_ = made.json().pop("key"), made.json()["id"]
    assert made.headers["cache-control"] == "no-store"
    assert key.startswith(made.json()["prefix"] + "_")
    # An answer with a credential is stored for no repeat.
    assert (await make(client, sent, partner)).json()["key"] != key
    seen = [
        (await client.get(PATH, headers=owner)).text,
        (await client.get(f"{PATH}/{id_}", headers=owner)).text,
    ]
    async with engine.connect() as connection:
        for table in ("api_keys", "audit_log", "idempotency_keys"):
            rows = await connection.execute(text(f"SELECT t::text FROM {table} AS t"))  # noqa: S608
            seen += [row[0] for row in rows]
    # The whole of it: it has underlines of its own, so what stands behind the last may be anything.
    secret = key.removeprefix(made.json()["prefix"] + "_")
    assert not any(secret in text_ or secret.encode().hex() in text_ for text_ in seen)


async def test_the_use_of_a_key_is_logged_by_its_id(
    client: httpx2.AsyncClient, owner: Headers, partner: Json
) -> None:
    made = (await make(client, owner, partner)).json()
    with capture_logs() as logs:
        assert (await use(client, partner, made["key"])).status_code == 200
        await use(client, partner, made["key"][:-4] + "0000")
        await client.get("/api/me", headers=owner)
    told = [(line["status"], line.get("key_id")) for line in logs if line["event"] == "request"]
    assert told == [(200, made["id"]), (401, None), (200, None)]
    assert made["key"] not in str(logs)


async def test_the_keys_of_an_erased_account_are_gone_with_their_names(
    client: httpx2.AsyncClient, owner: Headers, superuser_url: str
) -> None:
    session, name = await open_account(client), f"Grace Hopper {uuid4().hex}"
    key = (await make(client, owner, session["user"], name=name)).json()["key"]
    assert in_tables(superuser_url, [name]) == {"table api_keys": [name]}, "the control"
    erased = await client.delete("/api/me", headers=bearer(session))
    assert erased.status_code == 204
    assert in_tables(superuser_url, [name]) == {}
    assert_problem(await use(client, session["user"], key), 401, "unauthenticated")


async def test_a_key_speaks_for_its_account_in_either_header(
    client: httpx2.AsyncClient, owner: Headers, partner: Json
) -> None:
    key = (await make(client, owner, partner)).json()["key"]
    assert (await use(client, partner, key)).status_code == 200
    path = f"/api/booking/user/{partner['id']}"
    as_bearer = {"Authorization": f"Bearer {key}"}
    assert (await client.get(path, headers=as_bearer)).status_code == 200
    both = await client.get(path, headers={**as_bearer, "X-API-Key": key})
    assert_problem(both, 401, "unauthenticated")
    refused = await client.get("/api/me", headers=as_bearer)
    assert_problem(refused, 403, "forbidden")


@pytest.mark.parametrize(
    "forge",
    [
        lambda key: "",
        lambda key: "sk_",
        lambda key: key[:-1],
        lambda key: key + "A",
        lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"),
        lambda key: key[:16] + key[16:].swapcase(),
        lambda key: "sk_" + "0" * 12 + key[15:],
        lambda key: key.replace("sk_", "pk_"),
    ],
)
async def test_what_is_nearly_a_key_is_none(
    client: httpx2.AsyncClient, owner: Headers, partner: Json, forge: Any
) -> None:
    key = (await make(client, owner, partner)).json()["key"]
    assert_problem(await use(client, partner, forge(key)), 401, "unauthenticated")


async def test_after_a_rotation_the_old_secret_works_for_the_grace_and_no_longer(
    client: httpx2.AsyncClient, owner: Headers, partner: Json
) -> None:
    made = (await make(client, owner, partner)).json()
    path = f"{PATH}/{made['id']}/rotate"
    turned = await client.post(path, json={"grace_seconds": 60, **WHY}, headers=owner)
    assert turned.json()["previous_until"]
    for key in (made["key"], turned.json()["key"]):
        assert (await use(client, partner, key)).status_code == 200
    again = await client.post(path, json={"grace_seconds": 0, **WHY}, headers=owner)
    assert again.json()["prefix"] == made["prefix"]
    for key in (made["key"], turned.json()["key"]):
        assert_problem(await use(client, partner, key), 401, "unauthenticated")
    assert (await use(client, partner, again.json()["key"])).status_code == 200


async def test_a_revoked_key_is_over_for_good(
    client: httpx2.AsyncClient, engine: AsyncEngine, owner: Headers, partner: Json
) -> None:
    made = (await make(client, owner, partner)).json()
    assert (await use(client, partner, made["key"])).status_code == 200
    path = f"{PATH}/{made['id']}"
    for _ in range(2):
        answer = await client.delete(path, params=WHY, headers=owner)
        assert answer.status_code == 204
    assert_problem(await use(client, partner, made["key"]), 401, "unauthenticated")
    turned = await client.post(f"{path}/rotate", json=WHY, headers=owner)
    assert_problem(turned, 404, "not_found")
    async with engine.connect() as connection:
        query = "SELECT action, reason FROM audit_log WHERE target = :it ORDER BY at"
        found = await connection.execute(text(query), {"it": f"api_key:{made['id']}"})
        acts = [tuple(row) for row in found]
    assert acts == [("api_key.create", WHY["reason"]), ("api_key.revoke", WHY["reason"])]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE users SET blocked_at = now() WHERE id = :account",
        "UPDATE users SET role = 'owner' WHERE id = :account",
        "UPDATE api_keys SET expires_at = now() WHERE account_id = :account",
        "UPDATE api_keys SET revoked_at = now() WHERE account_id = :account",
    ],
)
async def test_what_ended_elsewhere_is_refused_within_a_second(
    app: FastAPI,
    client: httpx2.AsyncClient,
    engine: AsyncEngine,
    database: Database,
    owner: Headers,
    partner: Json,
    change: str,
) -> None:
    key = (await make(client, owner, partner)).json()["key"]
    now = [0.0]
    check = ApiKeys(database, clock=lambda: now[0])
    assert str((await check.verify(key)).user_id) == partner["id"]
    async with engine.begin() as connection:
        await connection.execute(text(change), {"account": partner["id"]})
    # It is remembered that long, and no longer: the measure of the guard.
    await check.verify(key)
    now[0] += MAX_AGE_SECONDS + 0.001
    with pytest.raises(Exception, match="not valid"):
        await check.verify(key)
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE users SET role = 'user' WHERE id = :id"), {"id": partner["id"]}
        )


async def test_when_a_key_was_last_used_is_written_once_in_ten_minutes(
    engine: AsyncEngine, client: httpx2.AsyncClient, owner: Headers, partner: Json
) -> None:
    made = (await make(client, owner, partner)).json()
    wrong = made["key"][:-1] + ("A" if made["key"][-1] != "A" else "B")

    async def row() -> Any:
        async with engine.connect() as connection:
            query = "SELECT last_used_at, xmin::text FROM api_keys WHERE id = :id"
            return (await connection.execute(text(query), {"id": made["id"]})).one()

    await use(client, partner, wrong)
    assert (await row()).last_used_at is None
    await use(client, partner, made["key"])
    first = await row()
    assert first.last_used_at is not None
    for _ in range(5):
        await use(client, partner, made["key"])
    assert await row() == first


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"account_id": str(uuid4())}, "unknown_account"),
        ({"scopes": []}, "invalid"),
        ({"scopes": ["everything"]}, "invalid"),
        ({"per_minute": 0}, "invalid"),
        ({"expires_in_days": 0}, "invalid"),
        ({"name": " "}, "invalid"),
        ({"reason": ""}, "invalid"),
        ({"key": "sk_mine"}, "invalid"),
    ],
)
async def test_a_key_that_makes_no_sense_is_not_made(
    client: httpx2.AsyncClient, owner: Headers, partner: Json, changes: Json, code: str
) -> None:
    assert_problem(await make(client, owner, partner, **changes), 422, code)


async def test_no_key_has_the_powers_of_the_staff(
    client: httpx2.AsyncClient, owner: Headers
) -> None:
    myself = (await client.get("/api/me", headers=owner)).json()
    assert_problem(await make(client, owner, myself), 422, "unknown_account")


async def test_an_account_has_so_many_keys_and_no_more(
    client: httpx2.AsyncClient,
    owner: Headers,
    partner: Json,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.api_key.MAX_KEYS_PER_ACCOUNT", 1)
    made = (await make(client, owner, partner)).json()
    assert_problem(await make(client, owner, partner), 409, "limit_reached")
    await client.delete(f"{PATH}/{made['id']}", params=WHY, headers=owner)
    assert (await make(client, owner, partner)).status_code == 201
