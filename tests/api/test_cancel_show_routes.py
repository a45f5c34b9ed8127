"""Cancelling a show: the staff asks, looks at what it would do, and reads what came of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from infra.settings import Settings
from seathold import shows
from seathold.cli import app as cli
from tests.api.test_cases import Staff, make_staff
from tests.factories import Hall, create_hall
from tests.helpers.accounts import RegisterUser
from tests.helpers.problems import assert_problem

Json = dict[str, Any]
WHY = {"reason": "The projector is broken."}


@pytest.fixture
async def hall(engine: AsyncEngine) -> Hall:
    return await create_hall(engine)


@pytest.fixture
async def staff(app: FastAPI, client: httpx2.AsyncClient, engine: AsyncEngine) -> Staff:
    return await make_staff(app, client, engine)


def path(show_id: UUID | str) -> str:
    return f"/api/admin/shows/{show_id}/cancel"


async def post(staff: Staff, show_id: UUID, body: Json, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await staff.client.post(path(show_id), json=body, headers={**staff.headers, **named})


async def status_of(engine: AsyncEngine, show_id: UUID) -> str:
    async with engine.connect() as connection:
        found = await connection.scalar(
            text("SELECT status FROM shows WHERE id = :id"), {"id": show_id}
        )
    return str(found)


async def test_only_the_staff_cancels(
    client: httpx2.AsyncClient, hall: Hall, register_user: RegisterUser
) -> None:
    assert_problem(await client.post(path(hall.show_id), json=WHY), 401, "unauthenticated")
    _, headers = await register_user()
    refused = await client.post(path(hall.show_id), json=WHY, headers=headers)
    assert_problem(refused, 403, "forbidden")
    assert_problem(await client.get(path(hall.show_id), headers=headers), 403, "forbidden")


@pytest.mark.parametrize(
    "body", [{}, {"reason": " "}, {"reason": "x" * 2001}, {**WHY, "dry_run": "perhaps"}]
)
async def test_a_reason_is_needed(staff: Staff, hall: Hall, body: Json) -> None:
    assert_problem(await post(staff, hall.show_id, body), 422, "invalid")


async def test_a_show_that_is_not_there_is_not_found(staff: Staff) -> None:
    assert_problem(await post(staff, uuid4(), WHY), 404, "not_found")
    assert_problem(await post(staff, uuid4(), {**WHY, "dry_run": True}), 404, "not_found")
    lost = await staff.client.get(path("nonsense"), headers=staff.headers)
    assert_problem(lost, 404, "not_found")


async def test_a_dry_run_says_what_would_happen(
    staff: Staff, hall: Hall, engine: AsyncEngine
) -> None:
    answer = await post(staff, hall.show_id, {**WHY, "dry_run": True})
    assert answer.status_code == 200
    assert answer.json() == {
        "bookings": {},
        "holds": 0,
        "refunds": [],
        "refunds_per_second": 5,
        "seconds": 0,
    }
    assert await status_of(engine, hall.show_id) == "on_sale"
    unknown = await staff.client.get(path(hall.show_id), headers=staff.headers)
    assert_problem(unknown, 404, "not_found")


async def test_cancelling_answers_with_the_progress_and_a_repeat_with_the_first(
    staff: Staff, hall: Hall, engine: AsyncEngine, app: FastAPI
) -> None:
    on_sale = await app.state.parts.shows.get(hall.show_id)
    assert on_sale.on_sale
    answer = await post(staff, hall.show_id, WHY, Idempotency_Key="one")
    assert answer.status_code == 202
    told = answer.json()
    assert (told["status"], told["reason"]) == ("running", WHY["reason"])
    assert told["actor"] == str(staff.id)
    assert await status_of(engine, hall.show_id) == "cancelled"
    # This process knows at once; the others ask PostgreSQL when somebody reserves.
    assert not (await app.state.parts.shows.get(hall.show_id)).on_sale
    for key in ("one", "two"):
        again = await post(staff, hall.show_id, {"reason": "again"} if key == "two" else WHY)
        assert again.json()["reason"] == WHY["reason"]
    read = await staff.client.get(path(hall.show_id), headers=staff.headers)
    assert read.status_code == 200
    assert read.json() == told


async def test_the_command_line_does_the_same(
    settings: Settings, hall: Hall, engine: AsyncEngine
) -> None:
    told = await shows.cancel(settings, hall.show_id, "Power cut", dry_run=True)
    assert '"holds": 0' in told
    assert await shows.cancellation(settings, hall.show_id) is None
    told = await shows.cancel(settings, hall.show_id, "Power cut", dry_run=False)
    assert '"status": "running"' in told
    assert await shows.cancellation(settings, hall.show_id) == told
    assert await status_of(engine, hall.show_id) == "cancelled"


def test_the_command_line_wants_a_reason() -> None:
    refused = CliRunner().invoke(cli, ["show", "cancel", str(uuid4()), "--reason", " "])
    assert refused.exit_code == 2
    assert "Say why" in refused.output
