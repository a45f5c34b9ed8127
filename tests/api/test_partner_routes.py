"""Partners over HTTP: who may, what is shown, what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.helpers.accounts import RegisterUser, bearer, open_account
from tests.helpers.problems import assert_problem

ENDPOINTS = "/api/partner/endpoints"
BODY = {"url": "http://127.0.0.1:9/hook", "event_types": ["show.cancelled"]}
Headers = dict[str, str]


@pytest.fixture
async def staff(client: httpx2.AsyncClient, engine: AsyncEngine) -> AsyncIterator[Headers]:
    """A bearer; what it made is gone afterwards."""
    headers, user_id = await new_staff(client, engine)
    yield headers
    async with engine.begin() as connection:
        await connection.execute(
            text("DELETE FROM partner_endpoints WHERE owner_id = :id"), {"id": user_id}
        )


async def new_staff(client: httpx2.AsyncClient, engine: AsyncEngine) -> tuple[Headers, str]:
    session = await open_account(client)
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE users SET role = 'manager' WHERE id = :id"), {"id": session["user"]["id"]}
        )
    body = {"email": session["user"]["email"], "password": "three words make a password"}
    again = await client.post("/api/auth/login", json=body)
    return bearer(again.json()), session["user"]["id"]


async def make(client: httpx2.AsyncClient, headers: Headers, **changes: Any) -> httpx2.Response:
    answer = await client.post(ENDPOINTS, json={**BODY, **changes}, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer


async def test_the_secret_is_shown_once_and_only_then(
    client: httpx2.AsyncClient, staff: Headers
) -> None:
    made = await make(client, staff)
    assert made.json()["secret"].startswith("whsec_")
    assert made.headers["cache-control"] == "no-store"
    path = f"{ENDPOINTS}/{made.json()['id']}"
    for answer in (
        await client.get(path, headers=staff),
        await client.get(ENDPOINTS, headers=staff),
    ):
        assert answer.status_code == 200
        assert "secret" not in answer.text.replace("previous_secret_until", "")

    turned = await client.post(f"{path}/rotate", json={"overlap_seconds": 60}, headers=staff)
    assert turned.status_code == 200
    assert turned.json()["secret"] != made.json()["secret"]
    assert turned.json()["previous_secret_until"] is not None


async def test_a_secret_is_never_kept_for_a_repeated_request(
    client: httpx2.AsyncClient, engine: AsyncEngine, staff: Headers
) -> None:
    key = uuid4().hex
    made = [await make(client, {**staff, "Idempotency-Key": key}) for _ in range(2)]
    assert made[0].json()["id"] != made[1].json()["id"]
    assert not any("idempotent-replayed" in one.headers for one in made)


async def test_a_change_needs_the_version_that_was_read(
    client: httpx2.AsyncClient, staff: Headers
) -> None:
    made = await make(client, staff)
    path = f"{ENDPOINTS}/{made.json()['id']}"
    change = {"description": "Lobby", "enabled": False}
    assert_problem(
        await client.patch(path, json=change, headers=staff), 428, "precondition_required"
    )
    stale = {**staff, "If-Match": '"7"'}
    assert_problem(await client.patch(path, json=change, headers=stale), 412, "precondition_failed")
    fresh = {**staff, "If-Match": made.headers["etag"]}
    changed = await client.patch(path, json=change, headers=fresh)
    assert changed.status_code == 200
    assert changed.headers["etag"] == '"2"'
    told = changed.json()
    assert (told["state"], told["disabled_reason"], told["description"]) == (
        "disabled",
        "owner",
        "Lobby",
    )
    assert told["url"] == BODY["url"]
    kept = await client.get(path, headers={**staff, "If-None-Match": '"2"'})
    assert kept.status_code == 304


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"url": "http://10.0.0.1/"}, "invalid_url"),
        ({"url": "http://user@127.0.0.1/"}, "invalid_url"),
        ({"url": "x" * 3000}, "invalid"),
        ({"event_types": []}, "invalid"),
        ({"event_types": ["endpoint.test"]}, "invalid"),
        ({"event_types": ["*"]}, "invalid"),
        ({"description": "a\nb"}, "invalid"),
        ({"description": "x" * 201}, "invalid"),
        ({"secret": "whsec_mine"}, "invalid"),
        ({"owner_id": str(uuid4())}, "invalid"),
        ({"state": "active"}, "invalid"),
    ],
)
async def test_a_bad_endpoint_is_refused(
    client: httpx2.AsyncClient, staff: Headers, change: dict[str, Any], code: str
) -> None:
    answer = await client.post(ENDPOINTS, json={**BODY, **change}, headers=staff)
    assert_problem(answer, 422, code)


async def test_a_test_event_is_queued_and_its_delivery_is_read(
    client: httpx2.AsyncClient, staff: Headers
) -> None:
    made = await make(client, staff)
    path = f"{ENDPOINTS}/{made.json()['id']}"
    queued = await client.post(f"{path}/test", headers=staff)
    assert queued.status_code == 202
    told = queued.json()
    assert (told["type"], told["state"], told["attempts"]) == ("endpoint.test", "pending", 0)
    read = await client.get(f"/api/partner/deliveries/{told['id']}", headers=staff)
    assert read.json() == {**told, "tries": []}
    for query in ("", f"?endpoint_id={told['endpoint_id']}", "?state=pending&limit=1"):
        found = await client.get(f"/api/partner/deliveries{query}", headers=staff)
        assert found.json() == {"items": [told], "next": None}
    none = await client.get("/api/partner/deliveries?state=failed", headers=staff)
    assert none.json()["items"] == []
    again = await client.post(f"/api/partner/deliveries/{told['id']}/replay", headers=staff)
    assert again.status_code == 202


async def test_a_repeat_with_its_key_queues_nothing_again(
    client: httpx2.AsyncClient, engine: AsyncEngine, staff: Headers
) -> None:
    """The first answer may be lost on the way: what was done is not done twice for it."""
    path = f"{ENDPOINTS}/{(await make(client, staff)).json()['id']}"
    keyed = {**staff, "Idempotency-Key": uuid4().hex}
    first, again = [await client.post(f"{path}/test", headers=keyed) for _ in range(2)]
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")
    replay = f"/api/partner/deliveries/{first.json()['id']}/replay"
    assert (await client.post(replay, headers=keyed)).status_code == 202
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "UPDATE partner_deliveries SET state = 'delivered', next_attempt_at = NULL,"
                " delivered_at = now() WHERE id = :id"
            ),
            {"id": first.json()["id"]},
        )
    assert (await client.post(replay, headers=keyed)).status_code == 202
    found = await client.get("/api/partner/deliveries", headers=staff)
    assert [one["state"] for one in found.json()["items"]] == ["delivered"]


async def test_what_a_member_of_the_staff_does_is_noted_with_their_id_and_role(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    staff, user_id = await new_staff(client, engine)
    path = f"{ENDPOINTS}/{(await make(client, staff)).json()['id']}"
    assert (await client.delete(path, headers=staff)).status_code == 204
    async with engine.connect() as connection:
        noted = await connection.execute(
            text("SELECT action, role FROM audit_log WHERE actor = :id ORDER BY id"),
            {"id": user_id},
        )
        assert [tuple(row) for row in noted if row.action != "session.open"] == [
            ("partner_endpoint.created", "manager"),
            ("partner_endpoint.deleted", "manager"),
        ]


async def test_deliveries_come_in_pages_newest_first(
    client: httpx2.AsyncClient, staff: Headers
) -> None:
    made = await make(client, staff)
    path = f"{ENDPOINTS}/{made.json()['id']}/test"
    ids = [(await client.post(path, headers=staff)).json()["id"] for _ in range(5)]
    found: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = (await client.get("/api/partner/deliveries", params=params, headers=staff)).json()
        found += [one["id"] for one in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == ids[::-1]


async def test_a_replay_since_an_instant_says_how_much_it_was(
    client: httpx2.AsyncClient, staff: Headers
) -> None:
    made = await make(client, staff)
    path = f"{ENDPOINTS}/{made.json()['id']}/replay"
    done = await client.post(path, json={"since": "2100-01-01T00:00:00Z"}, headers=staff)
    assert (done.status_code, done.json()) == (202, {"count": 0, "more_from": None})
    for since in ("2100-01-01T00:00:00", "4102444800", 4102444800):
        unclear = await client.post(path, json={"since": since}, headers=staff)
        assert_problem(unclear, 422, "invalid")


async def test_the_feed_goes_on_after_an_id(client: httpx2.AsyncClient, staff: Headers) -> None:
    page = await client.get("/api/partner/events?limit=1", headers=staff)
    assert page.status_code == 200
    end = await client.get("/api/partner/events?after=evt_9999999999999999", headers=staff)
    assert end.json() == {"items": [], "next": None}
    for bad in ("x", "evt_1", "1", "evt_00000000000000000"):
        answer = await client.get(f"/api/partner/events?after={bad}", headers=staff)
        assert_problem(answer, 422, "invalid")


async def test_nobody_sees_or_touches_what_is_anothers(
    client: httpx2.AsyncClient, engine: AsyncEngine, staff: Headers
) -> None:
    made = await make(client, staff)
    queued = await client.post(f"{ENDPOINTS}/{made.json()['id']}/test", headers=staff)
    other, _ = await new_staff(client, engine)
    every = {**other, "If-Match": "*"}
    for endpoint_id, delivery_id in (
        (made.json()["id"], queued.json()["id"]),
        (str(uuid4()), str(uuid4())),
        ("x", "x"),
    ):
        path, delivery = f"{ENDPOINTS}/{endpoint_id}", f"/api/partner/deliveries/{delivery_id}"
        for answer in (
            await client.get(path, headers=other),
            await client.patch(path, json={"enabled": False}, headers=every),
            await client.delete(path, headers=other),
            await client.post(f"{path}/rotate", headers=other),
            await client.post(f"{path}/test", headers=other),
            await client.post(
                f"{path}/replay", json={"since": "2026-01-01T00:00:00Z"}, headers=other
            ),
            await client.get(delivery, headers=other),
            await client.post(f"{delivery}/replay", headers=other),
        ):
            assert_problem(answer, 404, "not_found")
    assert (await client.get(ENDPOINTS, headers=other)).json()["items"] == []
    assert (await client.get("/api/partner/deliveries", headers=other)).json()["items"] == []


async def test_without_the_right_to_it_nothing_is_told(
    client: httpx2.AsyncClient, register_user: RegisterUser
) -> None:
    _, user = await register_user()
    for path in (ENDPOINTS, "/api/partner/deliveries", "/api/partner/events"):
        assert_problem(await client.get(path), 401, "unauthenticated")
        assert_problem(await client.get(path, headers=user), 403, "forbidden")
    assert_problem(await client.post(ENDPOINTS, json=BODY, headers=user), 403, "forbidden")


async def test_what_is_done_is_in_the_audit_log_without_url_or_secret(
    client: httpx2.AsyncClient, engine: AsyncEngine, staff: Headers, app: FastAPI
) -> None:
    made = await make(client, staff, url="http://127.0.0.1:9/hook?token=canary")
    path = f"{ENDPOINTS}/{made.json()['id']}"
    await client.post(f"{path}/rotate", headers=staff)
    every = {**staff, "If-Match": "*"}
    await client.patch(path, json={"url": "http://127.0.0.1:9/canary"}, headers=every)
    await client.delete(path, headers=staff)
    async with engine.connect() as connection:
        rows = list(
            await connection.execute(
                text("SELECT action, details FROM audit_log WHERE target = :target ORDER BY id"),
                {"target": f"partner_endpoint:{made.json()['id']}"},
            )
        )
    assert [row.action.removeprefix("partner_endpoint.") for row in rows] == [
        "created",
        "rotated",
        "changed",
        "deleted",
    ]
    assert "canary" not in str(rows)
    assert "whsec" not in str(rows)


async def test_the_gauges_tell_what_waits(client: httpx2.AsyncClient, staff: Headers) -> None:
    made = await make(client, staff)
    await client.post(f"{ENDPOINTS}/{made.json()['id']}/test", headers=staff)
    exposed = (await client.get("/metrics")).text
    gauges = dict(
        line.split(" ") for line in exposed.splitlines() if line.startswith("seathold_partner_")
    )
    assert float(gauges["seathold_partner_deliveries_pending"]) >= 1
    assert float(gauges["seathold_partner_oldest_delivery_seconds"]) >= 0
    assert "seathold_partner_endpoints_disabled" in gauges
    assert "seathold_partner_endpoints_failing" in gauges
    assert "seathold_partner_feed_behind_seconds" in gauges
