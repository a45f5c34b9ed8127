"""The staff's accounts: invited by mail, given roles, kept out; an owner is always left."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.user import Role
from infra.postgres.database import Database
from infra.postgres.staff import PostgresStaff
from services.staff import Act
from tests.factories import create_user
from tests.helpers.accounts import PASSWORD, RegisterUser, bearer, new_email, open_staff
from tests.helpers.problems import assert_problem

PATH = "/api/admin/staff"
WHY = {"reason": "New at the Saturday counter."}
Headers = dict[str, str]


async def audit(engine: AsyncEngine, user_id: str) -> list[tuple[Any, ...]]:
    query = "SELECT action, reason, details FROM audit_log WHERE target = :it ORDER BY at"
    async with engine.connect() as connection:
        found = await connection.execute(text(query), {"it": f"user:{user_id}"})
        return [tuple(row) for row in found if row.action.startswith("staff.")]


async def me(client: httpx2.AsyncClient, headers: Headers) -> int:
    return (await client.get("/api/me", headers=headers)).status_code


async def test_somebody_is_invited_once_and_is_mailed_the_way_in(
    client: httpx2.AsyncClient, engine: AsyncEngine, owner: Headers
) -> None:
    body = {"email": new_email(), "name": "Grace Hopper", "role": "box_office", **WHY}
    made = await client.post(PATH, json=body, headers=owner)
    assert made.status_code == 201, made.text
    member = made.json()
    assert (member["role"], member["blocked_at"]) == ("box_office", None)
    listed = (await client.get(PATH, headers=owner)).json()["items"]
    assert member in listed
    assert (await client.get(f"{PATH}/{member['id']}", headers=owner)).json() == member
    async with engine.connect() as connection:
        query = "SELECT template FROM notification_outbox WHERE user_id = :id"
        mailed = list(await connection.scalars(text(query), {"id": member["id"]}))
    assert mailed == ["reset_password"]
    again = await client.post(PATH, json=body, headers=owner)
    assert_problem(again, 409, "email_taken")
    expected = ("staff.invite", WHY["reason"], {"role": "box_office"})
    assert await audit(engine, member["id"]) == [expected]


async def test_a_change_of_role_ends_the_sessions_and_is_written_down(
    client: httpx2.AsyncClient, engine: AsyncEngine, owner: Headers
) -> None:
    session = await open_staff(client, engine, Role.MANAGER)
    theirs, path = bearer(session), f"{PATH}/{session['user']['id']}"
    assert (await client.get("/api/admin/cases", headers=theirs)).status_code == 200
    changed = await client.post(f"{path}/role", json={"role": "scanner", **WHY}, headers=owner)
    assert (changed.status_code, changed.json()["role"]) == (200, "scanner")
    assert await me(client, theirs) == 401
    refresh = {"refresh_token": session["refresh_token"]}
    assert_problem(await client.post("/api/auth/refresh", json=refresh), 401, "invalid_token")
    login = {"email": session["user"]["email"], "password": PASSWORD}
    again = bearer((await client.post("/api/auth/login", json=login)).json())
    assert_problem(await client.get("/api/admin/cases", headers=again), 403, "forbidden")
    # What is so already is left, and nobody is logged out for it.
    await client.post(f"{path}/role", json={"role": "scanner", **WHY}, headers=owner)
    assert await me(client, again) == 200
    expected = ("staff.role", WHY["reason"], {"from": "manager", "to": "scanner"})
    assert await audit(engine, session["user"]["id"]) == [expected]


async def test_who_is_blocked_is_out_at_once_and_can_be_let_in_again(
    client: httpx2.AsyncClient, engine: AsyncEngine, owner: Headers
) -> None:
    session = await open_staff(client, engine, Role.BOX_OFFICE)
    theirs, path = bearer(session), f"{PATH}/{session['user']['id']}"
    for _ in range(2):
        blocked = await client.post(f"{path}/block", json=WHY, headers=owner)
        assert blocked.json()["blocked_at"]
    assert await me(client, theirs) == 401
    login = {"email": session["user"]["email"], "password": PASSWORD}
    assert_problem(await client.post("/api/auth/login", json=login), 403, "account_blocked")
    await client.post(f"{path}/unblock", json=WHY, headers=owner)
    assert (await client.post("/api/auth/login", json=login)).status_code == 200
    acts = [action for action, _, _ in await audit(engine, session["user"]["id"])]
    assert acts == ["staff.block", "staff.unblock"]
    told = text("SELECT event_type, payload FROM events WHERE aggregate_id = :id ORDER BY sequence")
    async with engine.connect() as connection:
        events = (await connection.execute(told, {"id": session["user"]["id"]})).all()
    assert [tuple(one) for one in events[-2:]] == [("UserBlocked", {}), ("UserUnblocked", {})]


@pytest.mark.parametrize("reason", [None, "", "  ", "x" * 501])
async def test_nothing_is_done_without_a_reason(
    client: httpx2.AsyncClient, owner: Headers, register_user: RegisterUser, reason: str | None
) -> None:
    user, theirs = await register_user()
    body = {"role": "owner", **({} if reason is None else {"reason": reason})}
    answer = await client.post(f"{PATH}/{user['id']}/role", json=body, headers=owner)
    assert_problem(answer, 422, "invalid")
    assert await me(client, theirs) == 200


async def test_a_buyer_is_no_member_until_given_a_role(
    client: httpx2.AsyncClient, owner: Headers, register_user: RegisterUser
) -> None:
    user, _ = await register_user()
    path = f"{PATH}/{user['id']}"
    assert_problem(await client.get(path, headers=owner), 404, "not_found")
    body = {"role": "auditor", **WHY}
    assert (await client.post(f"{path}/role", json=body, headers=owner)).status_code == 200
    assert (await client.get(path, headers=owner)).json()["role"] == "auditor"
    unknown = await client.post(f"{PATH}/{uuid4()}/role", json=body, headers=owner)
    assert_problem(unknown, 404, "not_found")


async def test_the_last_owner_stays(
    client: httpx2.AsyncClient, engine: AsyncEngine, database: Database
) -> None:
    """Two owners give up at once: one of them cannot. Others of this database look on, blocked."""
    async with engine.begin() as connection:
        query = "UPDATE users SET blocked_at = now() WHERE role = 'owner' AND blocked_at IS NULL"
        others = list(await connection.scalars(text(f"{query} RETURNING id")))
    try:
        pair = [await open_staff(client, engine), await open_staff(client, engine)]
        answers = await asyncio.gather(
            *(
                client.post(
                    f"{PATH}/{one['user']['id']}/role",
                    json={"role": "user", **WHY},
                    headers=bearer(one),
                )
                for one in pair
            )
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        left = pair[[answer.status_code for answer in answers].index(409)]
        for act, body in (("block", WHY), ("role", {"role": "manager", **WHY})):
            path = f"{PATH}/{left['user']['id']}/{act}"
            answer = await client.post(path, json=body, headers=bearer(left))
            assert_problem(answer, 409, "last_owner")
    finally:
        async with engine.begin() as connection:
            await connection.execute(
                text("UPDATE users SET blocked_at = NULL WHERE id = ANY(:ids)"), {"ids": others}
            )


async def test_an_invitation_does_not_take_over_an_account(
    client: httpx2.AsyncClient, engine: AsyncEngine, database: Database, owner: Headers
) -> None:
    """Whoever registered an address first would else get the powers meant for its owner."""
    user_id = await create_user(engine)
    email = f"{user_id}@example.test".upper()
    body = {"email": email, "name": "Grace", "role": "owner", **WHY}
    assert_problem(await client.post(PATH, json=body, headers=owner), 409, "email_taken")
    act = Act(user_id, "look", None)
    assert await PostgresStaff(database).change(user_id, act, role=Role.USER) == []
