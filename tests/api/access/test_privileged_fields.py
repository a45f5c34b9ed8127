"""No body sets what is not its caller's to set: each such field in each body, by the document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.api.access import rows
from tests.api.access.rows import ROWS
from tests.api.access.test_matrix import thing_of
from tests.api.access.world import OWN, PARAMETER, Person, World, call, leave, make_world

# What decides about power, money, time and whose a thing is; not asked where a body has it itself.
PRIVILEGED: Mapping[str, Any] = {
    "id": "0b5c8c0e-6f0a-5b1e-9d53-3f6a2f0f2a11",
    "user_id": "0b5c8c0e-6f0a-5b1e-9d53-3f6a2f0f2a11",
    "owner_id": "0b5c8c0e-6f0a-5b1e-9d53-3f6a2f0f2a11",
    "account_id": "0b5c8c0e-6f0a-5b1e-9d53-3f6a2f0f2a11",
    "role": "owner",
    "is_admin": True,
    "scopes": ["bookings:write"],
    "email_verified": True,
    "second_factor": True,
    "blocked": False,
    "password_hash": "x",
    "state": "confirmed",
    "status": "confirmed",
    "price": 1,
    "total": {"amount": 1, "currency": "EUR"},
    "amount": {"amount": 1, "currency": "EUR"},
    "captured": 1,
    "expires_at": "2036-01-01T00:00:00.000Z",
    "created_at": "2026-01-01T00:00:00.000Z",
    "paid_at": "2026-01-01T00:00:00.000Z",
    "version": 7,
}
KEPT = text("""
SELECT to_jsonb(users)::text AS kept FROM users WHERE id = ANY(:people)
UNION ALL SELECT to_jsonb(bookings)::text FROM bookings WHERE user_id = ANY(:people)
UNION ALL SELECT to_jsonb(api_keys)::text FROM api_keys WHERE account_id = ANY(:people)
UNION ALL SELECT to_jsonb(partner_endpoints)::text FROM partner_endpoints
    WHERE owner_id = ANY(:people)
UNION ALL SELECT to_jsonb(cases)::text FROM cases WHERE id = :case
ORDER BY kept
""")
ROOT = Path(__file__).parents[3]
# As it is published; a test compares it with the routes.
DOCUMENT: dict[str, Any] = orjson.loads((ROOT / "docs" / "openapi.json").read_bytes())


@pytest.fixture(scope="module")
async def world(app: FastAPI, engine: AsyncEngine) -> AsyncIterator[World]:
    world = await make_world(app, engine)
    yield world
    await leave(world)


def objects_of(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object that a schema can be or hold, itself first."""
    if isinstance(schema, list):
        for one in schema:
            yield from objects_of(one)
    elif isinstance(schema, dict):
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            yield from objects_of(DOCUMENT["components"]["schemas"][name])
            return
        if schema.get("type") == "object" or "properties" in schema:
            yield schema
        for word in ("anyOf", "oneOf", "allOf", "items"):
            yield from objects_of(schema.get(word))
        for inner in schema.get("properties", {}).values():
            yield from objects_of(inner)


BODIES = {
    f"{method.upper()} {path}": list(
        objects_of(operation["requestBody"]["content"]["application/json"]["schema"])
    )
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if "application/json" in operation.get("requestBody", {}).get("content", {})
}


def caller_of(world: World, row: rows.Row) -> Person | None:
    """Somebody who may."""
    if row.who == rows.PUBLIC:
        return None
    return world.people[row.roles[0] if row.who in (rows.STAFF, rows.PARTNER) else "user"]


async def kept(world: World) -> list[str]:
    people = [person.user.id for person in world.people.values()] + [world.shared["staff_id"]]
    async with world.engine.connect() as connection:
        found = await connection.scalars(KEPT, {"people": people, "case": world.shared["case_id"]})
        return list(found)


@pytest.mark.parametrize("key", BODIES)
async def test_a_field_that_is_not_the_callers_to_set_is_refused_and_changes_nothing(
    world: World, key: str
) -> None:
    row, (schema, *_) = ROWS[key], BODIES[key]
    method, template = key.split(" ", 1)
    caller, name = caller_of(world, row), thing_of(key, row)
    id_ = await world.thing(name, OWN, caller) if name else None
    path = PARAMETER.sub(str(id_), template) + row.query
    headers = {**row.headers, **(caller.headers if caller else {})}
    filled = row.filled(id_)
    before = await kept(world)
    for field, value in PRIVILEGED.items():
        if field in schema["properties"]:
            continue
        body = {**(filled if isinstance(filled, dict) else {}), field: value}
        answer = await call(world.app, method, path, headers, body)
        assert answer.status == 422, (field, answer.body)
        told = [(one["in"], one["field"]) for one in orjson.loads(answer.body)["errors"]]
        assert ("body", field) in told, (field, told)
    assert await kept(world) == before


def test_nothing_in_a_body_takes_more_than_it_names() -> None:
    """Also what is within another: else a field could come with a seat or a choice."""
    objects = [one for body in BODIES.values() for one in body]
    assert [one["title"] for one in objects if one.get("additionalProperties") is not False] == []
    assert len(objects) > len(BODIES) > 25
