"""The audit log over HTTP: for owners and auditors, by filter and page; what leaves an entry."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from api.middleware.metrics import Metrics
from api.refusals import Refusals
from domain.booking import CloseReason
from domain.steps import CloseStep, ExtendRequest, ExtendStep
from infra.postgres.audit import PostgresAudit, PostgresAuditSeals
from infra.postgres.database import Database
from infra.postgres.uow import PostgresUnitOfWork
from services import booking
from tests.factories import create_hall, create_user
from tests.helpers.horizon import horizon_passed
from tests.helpers.problems import assert_problem

PATH = "/api/admin/audit"
Json = dict[str, Any]


async def staff(app: FastAPI, engine: AsyncEngine, role: str) -> dict[str, str]:
    """The headers of somebody new with this role."""
    id_ = await create_user(engine)
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE users SET role = :role WHERE id = :id"), {"id": id_, "role": role}
        )
    token = app.state.parts.signer.issue(id_, role, uuid4())
    return {"Authorization": f"Bearer {token}"}


async def note(database: Database, count: int, *, actor: str, target: str) -> None:
    for number in range(count):
        async with database.transaction() as session:
            PostgresAudit(session).note(
                f"test.{number}", target=target, actor=actor, details={"before": None, "after": 1}
            )


async def entries(engine: AsyncEngine, target: str) -> list[Any]:
    query = text("SELECT * FROM audit_log WHERE target = :target ORDER BY id")
    async with engine.connect() as connection:
        return list((await connection.execute(query, {"target": target})).all())


@pytest.mark.parametrize(
    ("role", "status"),
    [
        ("owner", 200),
        ("auditor", 200),
        ("manager", 403),
        ("box_office", 403),
        ("scanner", 403),
        ("user", 403),
    ],
)
async def test_owners_and_auditors_read_it(
    app: FastAPI, client: httpx2.AsyncClient, engine: AsyncEngine, role: str, status: int
) -> None:
    answer = await client.get(PATH, headers=await staff(app, engine, role))
    assert answer.status_code == status, answer.text
    assert_problem(await client.get(PATH), 401, "unauthenticated")


async def test_pages_follow_one_another_newest_first(
    app: FastAPI, client: httpx2.AsyncClient, engine: AsyncEngine, database: Database
) -> None:
    headers = await staff(app, engine, "auditor")
    target = f"thing:{uuid4()}"
    await note(database, 5, actor="operator:test", target=target)
    found: list[Json] = []
    cursor: str | None = None
    while len(found) < 9:
        params = {"target": target, "limit": "2", **({"cursor": cursor} if cursor else {})}
        page = (await client.get(PATH, params=params, headers=headers)).json()
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert [one["action"] for one in found] == [f"test.{number}" for number in (4, 3, 2, 1, 0)]
    assert {(one["actor"], one["role"]) for one in found} == {("operator:test", "operator")}
    assert found[0]["details"] == {"before": None, "after": 1}


async def test_filters_narrow_together(
    app: FastAPI, client: httpx2.AsyncClient, engine: AsyncEngine, database: Database
) -> None:
    headers = await staff(app, engine, "owner")
    ada, bob = f"operator:{uuid4()}", f"operator:{uuid4()}"
    target, other = f"thing:{uuid4()}", f"thing:{uuid4()}"
    await note(database, 2, actor=ada, target=target)
    await note(database, 1, actor=ada, target=other)
    await note(database, 1, actor=bob, target=target)

    async def count(**params: str) -> int:
        answer = await client.get(PATH, params=params, headers=headers)
        assert answer.status_code == 200, answer.text
        return len(answer.json()["items"])

    assert await count(actor=ada) == 3
    assert await count(target=target) == 3
    assert await count(actor=ada, target=target) == 2
    assert await count(actor=ada, action="test.1") == 1
    assert await count(actor=ada, since="2999-01-01T00:00:00Z") == 0
    assert await count(actor=ada, since="2000-01-01T00:00:00Z") == 3
    assert await count(actor=ada, until="2000-01-01T00:00:00+01:00") == 0


@pytest.mark.parametrize(
    "params",
    [
        {"cursor": "x"},
        {"cursor": "WyJ4Il0="},
        {"cursor": "WyItMSJd"},
        {"limit": "0"},
        {"limit": "101"},
        {"since": "2026-01-01T00:00:00"},
        {"since": "1796083200"},
        {"since": "0001-01-01T00:00:00+23:59"},
        {"until": "9999-12-31T23:59:59-23:59"},
        {"actor": ""},
        {"actor": "a\x00b"},
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(
    app: FastAPI, client: httpx2.AsyncClient, engine: AsyncEngine, params: dict[str, str]
) -> None:
    answer = await client.get(PATH, params=params, headers=await staff(app, engine, "owner"))
    assert answer.status_code == 422, answer.text


async def test_an_entry_shows_its_seal_when_it_has_one(
    app: FastAPI, client: httpx2.AsyncClient, engine: AsyncEngine, database: Database
) -> None:
    headers, target = await staff(app, engine, "owner"), f"thing:{uuid4()}"
    await note(database, 1, actor="operator:test", target=target)

    async def read() -> Json:
        [item] = (await client.get(PATH, params={"target": target}, headers=headers)).json()[
            "items"
        ]
        found: Json = item
        return found

    assert (await read())["sealed"] is None
    await horizon_passed(database)
    while (await PostgresAuditSeals(database).seal())[0]:
        pass
    sealed = (await read())["sealed"]
    assert sealed["sequence"] >= 1
    assert len(bytes.fromhex(sealed["hash"])) == 32


async def test_an_operator_who_acts_on_a_booking_leaves_an_entry(
    engine: AsyncEngine, database: Database
) -> None:
    begin = PostgresUnitOfWork(database)
    hall = await create_hall(engine)
    ids: list[UUID] = []
    for labels, actor in ((("A1",), "operator:anna"), (("A2",), str(hall.user_id))):
        input = hall.input(*labels)
        ids.append(UUID(input.booking_id))
        async with begin() as tx:
            await tx.bookings.add_request(input, key_hash=None, body_hash=b"body")
            await booking.hold(tx, input)
        request = ExtendRequest(actor=actor, reason="the till is slow", request_id="req-1")
        async with begin() as tx:
            await booking.extend(tx, ExtendStep(input.booking_id, 900, request, "wish"))
        async with begin() as tx:
            await booking.begin_close(
                tx,
                CloseStep(
                    input.booking_id,
                    CloseReason.RELEASED,
                    actor=actor,
                    reason="asked to",
                    request_id="req-2",
                ),
            )
    told = await entries(engine, f"booking:{ids[0]}")
    assert [(one.action, one.actor, one.role, one.reason, one.request_id) for one in told] == [
        ("booking.extend", "operator:anna", "operator", "the till is slow", "req-1"),
        ("booking.released", "operator:anna", "operator", "asked to", "req-2"),
    ]
    assert await entries(engine, f"booking:{ids[1]}") == [], "a buyer's own acts are events"


async def test_refusals_are_told_as_sums(engine: AsyncEngine, database: Database) -> None:
    metrics, target = Metrics(), f"api:{uuid4()}"
    refusals = Refusals(PostgresUnitOfWork(database), metrics, target)
    await refusals.tell()
    assert await entries(engine, target) == [], "nothing came, nothing is told"
    for _ in range(3):
        metrics.observe("POST", "/api/auth/login", 401, 0.1)
    metrics.observe("POST", "/api/auth/login", 429, 0.1)
    metrics.observe("GET", "/api/me", 401, 0.1)
    metrics.observe("GET", "/api/admin/cases", 403, 0.1)
    metrics.observe("GET", "/api/movies", 200, 0.1)
    await refusals.tell()
    async with refusals.told():
        metrics.observe("POST", "/api/auth/login", 401, 0.1)
    told = await entries(engine, target)
    assert [one.details for one in told] == [
        {"login_unauthenticated": 3, "login_limited": 1, "unauthenticated": 1, "forbidden": 1},
        {"login_unauthenticated": 1},
    ]
    assert {(one.action, one.role) for one in told} == {("requests.refused", "system")}
