"""Cases: the staff lists, takes on and resolves them; nobody else sees that there are any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.case import CaseKind
from infra.postgres.database import Database
from infra.postgres.uow import PostgresUnitOfWork
from services import booking as bookings
from tests.factories import create_hall, create_user
from tests.helpers.accounts import RegisterUser
from tests.helpers.problems import assert_problem

PATH = "/api/admin/cases"
Json = dict[str, Any]


class Staff:
    """An administrator at the API."""

    def __init__(self, client: httpx2.AsyncClient, id_: UUID, token: str) -> None:
        self.client, self.id = client, id_
        self.headers = {"Authorization": f"Bearer {token}"}

    async def read(self, case_id: UUID, **headers: str) -> httpx2.Response:
        return await self.client.get(f"{PATH}/{case_id}", headers={**self.headers, **headers})

    async def list(self, **params: Any) -> Json:
        answer = await self.client.get(PATH, params=params, headers=self.headers)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    async def change(
        self, case_id: UUID, act: str, body: Json | None = None, /, **headers: str
    ) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(
            f"{PATH}/{case_id}/{act}", json=body or {}, headers={**self.headers, **named}
        )


async def make_staff(app: FastAPI, client: httpx2.AsyncClient, engine: AsyncEngine) -> Staff:
    id_ = await create_user(engine)
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE users SET role = 'owner' WHERE id = :id"), {"id": id_}
        )
    return Staff(client, id_, app.state.parts.signer.issue(id_, "owner", uuid4()))


@pytest.fixture
async def anna(app: FastAPI, client: httpx2.AsyncClient, engine: AsyncEngine) -> Staff:
    return await make_staff(app, client, engine)


@pytest.fixture
async def bert(app: FastAPI, client: httpx2.AsyncClient, engine: AsyncEngine) -> Staff:
    return await make_staff(app, client, engine)


async def open_case(
    database: Database,
    kind: CaseKind = CaseKind.DIFFERENCE,
    booking_id: UUID | None = None,
    dedupe: str | None = None,
) -> UUID:
    """A case, of its own unless ``dedupe`` says which; its id."""
    dedupe = dedupe or uuid4().hex
    async with PostgresUnitOfWork(database)() as tx:
        tx.cases.open(kind, dedupe=dedupe, summary="Look at this.", booking_id=booking_id)
    async with database.statements() as session:
        row = await session.one(text("SELECT id FROM cases WHERE dedupe = :it"), it=dedupe)
    assert row is not None
    found: UUID = row.id
    return found


async def audit(engine: AsyncEngine, case_id: UUID) -> list[tuple[Any, ...]]:
    query = "SELECT actor, action, reason, request_id FROM audit_log WHERE target = :it ORDER BY at"
    async with engine.connect() as connection:
        found = await connection.execute(text(query), {"it": f"case:{case_id}"})
        return [tuple(row) for row in found]


@pytest.mark.parametrize(
    "send",
    [
        lambda client, id_, headers: client.get(PATH, headers=headers),
        lambda client, id_, headers: client.get(f"{PATH}/{id_}", headers=headers),
        lambda client, id_, headers: client.post(f"{PATH}/{id_}/assign", headers=headers),
        lambda client, id_, headers: client.post(
            f"{PATH}/{id_}/resolve", json={"reason": "because"}, headers=headers
        ),
    ],
)
async def test_only_the_staff_gets_in(
    send: Callable[..., Any],
    client: httpx2.AsyncClient,
    database: Database,
    register_user: RegisterUser,
    anna: Staff,
) -> None:
    case_id = await open_case(database)
    assert_problem(await send(client, case_id, {}), 401, "unauthenticated")
    _, buyer = await register_user()
    assert_problem(await send(client, case_id, {**buyer, "If-Match": '"1"'}), 403, "forbidden")
    assert (await anna.read(case_id)).json()["status"] == "open"


async def test_one_trouble_is_one_case_however_often_it_is_seen(
    database: Database, anna: Staff
) -> None:
    for _ in range(3):
        dedupe = uuid4().hex
        seen = await asyncio.gather(*(open_case(database, dedupe=dedupe) for _ in range(8)))
        assert len(set(seen)) == 1
        await anna.change(seen[0], "resolve", {"reason": "looked at"}, If_Match='"1"')
        assert await open_case(database, dedupe=dedupe) == seen[0]
        assert (await anna.read(seen[0])).json()["status"] == "resolved"


async def test_a_case_is_read_with_its_tag(database: Database, anna: Staff) -> None:
    case_id = await open_case(database)
    answer = await anna.read(case_id)
    assert answer.headers["etag"] == '"1"'
    found = answer.json()
    assert found["opened_at"].endswith("Z")
    assert {name: found[name] for name in ("id", "kind", "status", "summary", "version")} == {
        "id": str(case_id),
        "kind": "difference",
        "status": "open",
        "summary": "Look at this.",
        "version": 1,
    }
    kept = await anna.read(case_id, **{"If-None-Match": '"1"'})
    assert kept.status_code == 304
    for unknown in (uuid4(), "nonsense"):
        gone = await anna.client.get(f"{PATH}/{unknown}", headers=anna.headers)
        assert_problem(gone, 404, "not_found")


async def test_the_list_pages_newest_first_without_a_gap(
    database: Database, engine: AsyncEngine, anna: Staff
) -> None:
    """Also among those that one transaction has opened."""
    opened = [str(await open_case(database)) for _ in range(5)]
    at_once = "UPDATE cases SET opened_at = now() WHERE id = ANY(CAST(:ids AS uuid[]))"
    async with engine.begin() as connection:
        await connection.execute(text(at_once), {"ids": opened[2:]})
    opened[2:] = sorted(opened[2:])
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while len(seen) < 5:
        page = await anna.list(limit=2, **cursor)
        assert len(page["items"]) == 2
        seen += [one["id"] for one in page["items"]]
        cursor = {"cursor": page["next"]}
    assert seen[:5] == opened[::-1]
    last = await anna.list(limit=1, kind="difference", status="resolved")
    assert last["next"] is None or len(last["items"]) == 1


async def test_the_list_is_filtered(database: Database, anna: Staff) -> None:
    other = await open_case(database)
    wrong = await open_case(database, CaseKind.WRONG_AMOUNT)
    done = await open_case(database, CaseKind.WRONG_AMOUNT)
    await anna.change(wrong, "assign", If_Match='"1"')
    await anna.change(done, "resolve", {"reason": "paid back"}, If_Match='"1"')

    async def ids(**filters: str) -> set[str]:
        return {one["id"] for one in (await anna.list(limit=100, **filters))["items"]}

    mine = {str(other), str(wrong), str(done)}
    assert mine & await ids() == mine
    assert mine & await ids(status="open") == {str(other)}
    assert mine & await ids(status="assigned") == {str(wrong)}
    assert mine & await ids(kind="wrong_amount") == {str(wrong), str(done)}
    assert mine & await ids(kind="wrong_amount", status="resolved") == {str(done)}


@pytest.mark.parametrize(
    ("field", "value"),
    [("limit", "101"), ("status", "odd"), ("kind", "odd"), ("cursor", "WyJhIiwiYiJd")],
)
async def test_a_question_that_makes_no_sense_is_invalid(
    anna: Staff, field: str, value: str
) -> None:
    answer = await anna.client.get(PATH, params={field: value}, headers=anna.headers)
    problem = assert_problem(answer, 422, "invalid")
    assert [error["field"] for error in problem["errors"]] == [field]


async def test_a_case_is_taken_on_given_away_and_resolved(
    database: Database, engine: AsyncEngine, anna: Staff, bert: Staff
) -> None:
    case_id = await open_case(database)
    mine = await anna.change(case_id, "assign", If_Match='"1"', X_Request_Id="take")
    assert mine.status_code == 200, mine.text
    assert (mine.headers["etag"], mine.json()["assignee"]) == ('"2"', str(anna.id))
    assert mine.json()["status"] == "assigned"
    assert mine.json()["assigned_at"]
    theirs = await anna.change(
        case_id, "assign", {"assignee": str(bert.id)}, If_Match='"2"', X_Request_Id="give"
    )
    assert theirs.json()["assignee"] == str(bert.id)
    done = await bert.change(
        case_id, "resolve", {"reason": " paid back "}, If_Match='"3"', X_Request_Id="done"
    )
    assert done.status_code == 200, done.text
    assert (done.json()["status"], done.json()["resolution"]) == ("resolved", "paid back")
    assert done.json()["resolved_at"]
    assert await audit(engine, case_id) == [
        (str(anna.id), "case.assign", None, "take"),
        (str(anna.id), "case.assign", None, "give"),
        (str(bert.id), "case.resolve", "paid back", "done"),
    ]
    assert_problem(await anna.change(case_id, "assign", If_Match='"4"'), 409, "invalid_state")
    again = await anna.change(case_id, "resolve", {"reason": "no"}, If_Match="*")
    assert_problem(again, 409, "invalid_state")
    assert len(await audit(engine, case_id)) == 3


@pytest.mark.parametrize(("act", "body"), [("assign", {}), ("resolve", {"reason": "because"})])
async def test_a_change_needs_the_version_that_was_read(
    database: Database, engine: AsyncEngine, anna: Staff, act: str, body: Json
) -> None:
    case_id = await open_case(database)
    assert_problem(await anna.change(case_id, act, body), 428, "precondition_required")
    for stale in ('"2"', 'W/"1"', "1", '"99999999999999"', '"x"'):
        answer = await anna.change(case_id, act, body, If_Match=stale)
        assert_problem(answer, 412, "precondition_failed")
    assert (await anna.read(case_id)).json()["version"] == 1
    assert await audit(engine, case_id) == []
    answer = await anna.change(case_id, act, body, If_Match='"7", "1"')
    assert answer.status_code == 200, answer.text
    gone = await anna.change(uuid4(), act, body, If_Match="*")
    assert_problem(gone, 404, "not_found")


async def test_of_two_at_once_one_is_told_to_read_again(
    database: Database, engine: AsyncEngine, anna: Staff, bert: Staff
) -> None:
    for _ in range(5):
        case_id = await open_case(database)
        answers = await asyncio.gather(
            *(one.change(case_id, "assign", If_Match='"1"') for one in (anna, bert))
        )
        assert sorted(answer.status_code for answer in answers) == [200, 412]
        assert (await anna.read(case_id)).json()["version"] == 2
        assert len(await audit(engine, case_id)) == 1


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 2001}])
async def test_resolving_needs_a_reason(database: Database, anna: Staff, body: Json) -> None:
    case_id = await open_case(database)
    answer = await anna.change(case_id, "resolve", body, If_Match='"1"')
    assert_problem(answer, 422, "invalid")
    assert (await anna.read(case_id)).json()["status"] == "open"


async def test_a_case_is_given_only_to_the_staff(
    database: Database, engine: AsyncEngine, anna: Staff
) -> None:
    case_id = await open_case(database)
    for nobody in (uuid4(), await create_user(engine)):
        answer = await anna.change(case_id, "assign", {"assignee": str(nobody)}, If_Match="*")
        assert_problem(answer, 422, "unknown_assignee")


async def test_a_repeat_under_one_key_changes_once(
    database: Database, engine: AsyncEngine, anna: Staff
) -> None:
    case_id = await open_case(database)
    sent = {"If_Match": '"1"', "Idempotency_Key": uuid4().hex}
    first = await anna.change(case_id, "assign", **sent)
    again = await anna.change(case_id, "assign", **sent)
    assert again.headers["idempotent-replayed"] == "true"
    assert (again.status_code, again.json()) == (200, first.json())
    assert len(await audit(engine, case_id)) == 1


async def test_a_booking_names_its_newest_open_case(
    database: Database, engine: AsyncEngine, anna: Staff
) -> None:
    hall = await create_hall(engine)
    input = hall.input("A1")
    async with PostgresUnitOfWork(database)() as tx:
        await tx.bookings.add_request(input, key_hash=None, body_hash=b"body")
        await bookings.hold(tx, input)
    booking_id = UUID(input.booking_id)

    async def named() -> str | None:
        answer = await anna.client.get(f"/api/booking/{booking_id}", headers=anna.headers)
        found: str | None = answer.json()["case_id"]
        return found

    assert await named() is None
    first = await open_case(database, booking_id=booking_id)
    assert await named() == str(first)
    assert (await anna.read(first)).json()["booking_id"] == str(booking_id)
    second = await open_case(database, booking_id=booking_id)
    third = await open_case(database, booking_id=booking_id)
    assert await named() == str(third)
    for case_id, left in ((third, second), (first, second), (second, None)):
        await anna.change(case_id, "resolve", {"reason": "looked at"}, If_Match="*")
        assert await named() == (str(left) if left else None)
