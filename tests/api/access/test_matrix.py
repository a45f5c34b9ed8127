"""Every operation, as everybody, about one's own thing, another's, and one that there is not."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import cast

import orjson
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import Message, Receive, Scope, Send

from api import openapi
from api.app import create_app
from api.policy import POLICY, Rule, account, own, public
from domain.user import Role
from infra.settings import Settings
from tests.api.access import rows
from tests.api.access.rows import ROWS, Row
from tests.api.access.world import (
    FOREIGN,
    MISSING,
    OWN,
    PARAMETER,
    Answer,
    Person,
    World,
    call,
    leave,
    make_world,
)

CODES = {401: "unauthenticated", 403: "forbidden", 404: "not_found"}
OWN_WORDS = re.compile(rb'"(instance|request_id)":"[^"]*"')
# Operations that are not in the document, and are as open or closed as any.
BESIDE = {key for key in POLICY if "{rest:path}" in key} | {
    *(f"GET {path}" for path in rows.PAGES),
    "GET /",
    "GET /openapi.json",
}


@pytest.fixture(scope="module")
async def world(app: FastAPI, engine: AsyncEngine) -> AsyncIterator[World]:
    world = await make_world(app, engine)
    yield world
    await leave(world)


def test_every_operation_has_a_row_and_every_row_an_operation(app: FastAPI) -> None:
    documented = {
        f"{method.upper()} {path}"
        for path, methods in openapi.document(app)["paths"].items()
        for method in methods
    }
    assert documented | BESIDE == set(ROWS), "see tests/api/access/rows.py"


@pytest.mark.parametrize("key", ROWS)
async def test_everybody_gets_what_they_may_and_no_more(world: World, key: str) -> None:
    assert await breaches(world, world.app, key) == []


async def breaches(world: World, app: FastAPI, key: str, *, most: int = 20) -> list[str]:
    """The cells of a row that are not as they must be, each in words; ``most`` are enough."""
    row, found = ROWS[key], list[str]()
    name = thing_of(key, row)
    for caller in (None, *world.people.values()):
        if len(found) >= most:
            break
        answers: dict[str, Answer] = {}
        for which in (OWN, FOREIGN, MISSING) if name else (OWN,):
            answers[which] = answer = await asked(world, app, key, caller, which)
            wanted = expected(row, caller, which)
            if not is_so(answer, wanted):
                who = caller.name if caller else "anonymous"
                got = f"{answer.status} {answer.body[:200]!r}"
                found.append(f"{key} as {who}, {which}: wanted {wanted}, got {got}")
        if name and not sees_all(row, caller) and row.who in (rows.OWN, rows.PARTNER):
            foreign, missing = (bare(answers[which]) for which in (FOREIGN, MISSING))
            if foreign != missing:
                found.append(f"{key}: another's can be told from none: {foreign!r}, {missing!r}")
    return found


async def asked(world: World, app: FastAPI, key: str, caller: Person | None, which: str) -> Answer:
    method, template = key.split(" ", 1)
    row = ROWS[key]
    if row.spends and caller is not None and not caller.dead and caller.scopes is None:
        caller = await world.again(caller)
    name = thing_of(key, row)
    id_ = await world.thing(name, which, caller) if name else None
    path = PARAMETER.sub(str(id_), template) + row.query
    headers = {**row.headers, **(caller.headers if caller else {})}
    return await call(app, method, path, headers, row.filled(id_))


def thing_of(key: str, row: Row) -> str | None:
    found = PARAMETER.search(key)
    return row.thing or (found[1] if found else None)


def has_role(row: Row, caller: Person | None) -> bool:
    return caller is not None and caller.user.role.value in row.roles


def sees_all(row: Row, caller: Person | None) -> bool:
    return row.who != rows.PARTNER and has_role(row, caller)


def expected(row: Row, caller: Person | None, which: str) -> int:
    if row.who == rows.PUBLIC:
        return row.missing if which == MISSING else row.status
    if caller is None or caller.dead:
        return 401
    if caller.scopes is not None:
        if row.scope not in caller.scopes:
            return 403
    elif row.who in (rows.STAFF, rows.PARTNER) and not has_role(row, caller):
        return 403
    if which == MISSING:
        return row.missing
    if row.who in (rows.OWN, rows.PARTNER) and which == FOREIGN and not sees_all(row, caller):
        return row.missing
    return row.status


def is_so(answer: Answer, wanted: int) -> bool:
    if answer.status != wanted:
        return False
    if wanted < 400:
        return True
    code = orjson.loads(answer.body)["code"]
    problem = answer.headers["content-type"] == "application/problem+json"
    return problem and (wanted not in CODES or wanted == 401 or code == CODES[wanted])


def bare(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """An answer without the words that repeat the question."""
    told = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    return answer.status, told, OWN_WORDS.sub(b"", answer.body)


def app_with(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch, policy: Mapping[str, Rule]
) -> FastAPI:
    monkeypatch.setattr("api.app.POLICY", policy)
    app = create_app(settings)
    app.state.parts = world.app.state.parts
    return app


async def test_the_matrix_sees_every_route_that_is_opened(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: one line at a time is what it should not be."""
    opened = {key: public() for key in POLICY}
    app = app_with(world, settings, monkeypatch, opened)
    for key, row in ROWS.items():
        if row.who != rows.PUBLIC:
            assert await breaches(world, app, key, most=1), key
    staff_for_all = {
        key: account() if ROWS[key].who in (rows.STAFF, rows.PARTNER) else rule
        for key, rule in POLICY.items()
    }
    app = app_with(world, settings, monkeypatch, staff_for_all)
    for key, row in ROWS.items():
        if row.who in (rows.STAFF, rows.PARTNER):
            assert await breaches(world, app, key, most=1), key


async def test_the_matrix_sees_what_is_shown_to_strangers(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {key: own(*Role) if rule.roles else rule for key, rule in POLICY.items()}
    app = app_with(world, settings, monkeypatch, shown)
    for key, row in ROWS.items():
        if row.who == rows.OWN and row.roles and row.status != rows.NOT_YET:
            assert await breaches(world, app, key, most=1), key


async def test_the_matrix_sees_what_only_a_header_tells(world: World) -> None:
    """The negative control: the answers to another's thing and to none differ in one header."""
    key = "GET /api/booking/{booking_id}"
    foreign = await world.thing("booking_id", FOREIGN, world.people["user"])

    async def telling(scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start" and str(foreign) in scope["path"]:
                message["headers"] = [*message["headers"], (b"etag", b'"1"')]
            await send(message)

        await world.app(scope, receive, told)

    assert await breaches(world, cast("FastAPI", telling), key, most=1)
    assert await breaches(world, world.app, key, most=1) == []


async def test_where_a_second_factor_is_needed_staff_without_one_are_buyers(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every cell of the staff: without it they have no power, with it that of their role."""
    needing = settings.model_copy(update={"staff_totp": "required"})
    app = app_with(world, needing, monkeypatch, POLICY)
    signer, found = world.app.state.parts.signer, list[str]()
    for key, role in [(key, role) for key, row in ROWS.items() for role in row.roles]:
        row, weak = ROWS[key], world.people[role]
        which = FOREIGN if row.who == rows.OWN else OWN
        answer = await asked(world, app, key, weak, which)
        if row.who == rows.OWN:
            is_refused = is_so(answer, row.missing)
        else:
            is_refused = answer.status == 403 and b'"second_factor_required"' in answer.body
        if not is_refused:
            found.append(f"{key} as {role} without a factor: {answer.status} {answer.body[:200]!r}")
        issued = signer.issue(weak.user.id, weak.user.role, weak.session_id, second_factor=True)
        answer = await asked(world, app, key, replace(weak, token=issued), which)
        if not is_so(answer, row.status):
            found.append(f"{key} as {role} with one: {answer.status} {answer.body[:200]!r}")
    assert found == []


async def test_the_box_office_names_no_more_than_its_share(
    world: World, settings: Settings
) -> None:
    """Above it: 403. At it, and for a manager: as far as the booking, which is cancelled."""
    booking = world.people["user"].booking_id
    for role, more, wanted in (("box_office", 1, 403), ("box_office", 0, 409), ("manager", 1, 409)):
        sum_ = {"amount": settings.box_office_refund_max + more, "currency": "EUR"}
        path = f"/api/booking/{booking}/refund"
        headers = world.people[role].headers
        answer = await call(world.app, "POST", path, headers, {"amount": sum_})
        assert answer.status == wanted, answer.body
