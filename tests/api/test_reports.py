"""Reports and the past as the staff asks for them."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.postgres.database import Database
from infra.postgres.uow import PostgresUnitOfWork
from services import booking
from tests.api.test_cases import Staff, make_staff
from tests.factories import Hall, create_hall
from tests.helpers.problems import assert_problem

SALES, DEMAND = "/api/admin/reports/sales", "/api/admin/reports/demand"


@pytest.fixture
async def hall(engine: AsyncEngine) -> Hall:
    return await create_hall(engine)


@pytest.fixture
async def staff(app: FastAPI, client: httpx2.AsyncClient, engine: AsyncEngine) -> Staff:
    return await make_staff(app, client, engine)


async def get(staff: Staff, path: str, **params: str) -> httpx2.Response:
    return await staff.client.get(path, params=params, headers=staff.headers)


async def test_a_show_that_sold_nothing_stands_in_the_report(staff: Staff, hall: Hall) -> None:
    answer = await get(staff, SALES)
    assert answer.status_code == 200, answer.text
    [line] = [one for one in answer.json()["items"] if one["show_id"] == str(hall.show_id)]
    assert (line["capacity"], line["occupancy"], line["lapse_rate"]) == (10, 0, None)
    assert line["revenue"] == {"amount": 0, "currency": "EUR"}


@pytest.mark.parametrize("by", ["show", "movie", "theatre", "day"])
async def test_each_report_comes_as_csv_too(staff: Staff, hall: Hall, by: str) -> None:
    answer = await get(staff, SALES, by=by, format="csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert f"sales-by-{by}-" in answer.headers["content-disposition"]
    header = answer.text.partition("\r\n")[0]
    assert header.startswith('"day"' if by == "day" else f'"{by}_id"')
    assert '"occupancy","lapse_rate","currency","revenue"' in header


async def test_demand_comes_as_json_and_as_csv(staff: Staff, hall: Hall) -> None:
    told = (await get(staff, DEMAND, show_id=str(hall.show_id))).json()
    assert told["items"] == []
    answer = await get(staff, DEMAND, show_id=str(hall.show_id), format="csv")
    assert answer.text.startswith('"hour","timezone","local_time"')


@pytest.mark.parametrize(
    "params",
    [
        {"by": "buyer"},
        {"format": "pdf"},
        {"from": "2026-12-02", "to": "2026-12-01"},
        {"from": "2026-01-01", "to": "2027-01-02"},
        {"from": "0001-01-01", "to": "9999-12-31"},
        {"from": "9999-12-31"},
        {"from": "yesterday"},
        {"from": "1796083200", "to": "1796083200"},
    ],
)
async def test_what_cannot_be_reported_is_invalid(staff: Staff, params: dict[str, str]) -> None:
    assert_problem(await get(staff, SALES, **params), 422, "invalid")


async def test_a_year_may_be_asked_for_from_either_end(staff: Staff) -> None:
    told = (await get(staff, SALES, to="2026-12-31")).json()
    assert (told["from"], told["to"]) == ("2025-12-31", "2026-12-31")
    told = (await get(staff, SALES, **{"from": "2026-01-01"})).json()
    assert (told["from"], told["to"]) == ("2026-01-01", "2027-01-01")


async def test_the_seat_map_of_any_instant(staff: Staff, hall: Hall, database: Database) -> None:
    input = hall.input("A1", "A2")
    begin = PostgresUnitOfWork(database)
    async with begin() as tx:
        await tx.bookings.add_request(input, key_hash=None, body_hash=b"body")
        await booking.hold(tx, input)
    path = f"/api/admin/show/{hall.show_id}/availability"
    now = (await get(staff, path)).json()
    assert now["seats"] == {"A1": "held", "A2": "held"}
    assert now["bookings"] == dict.fromkeys(("A1", "A2"), input.booking_id)
    assert now["version"] > 0
    async with begin() as tx:
        held = await tx.bookings.peek(UUID(input.booking_id))
    assert held is not None
    before = (held.now - timedelta(hours=1)).isoformat()
    then = (await get(staff, path, at=before)).json()
    assert (then["seats"], then["version"]) == ({}, 0)


async def test_no_show_and_no_instant_are_told_apart(staff: Staff, hall: Hall) -> None:
    path = f"/api/admin/show/{hall.show_id}/availability"
    assert_problem(await get(staff, f"/api/admin/show/{uuid4()}/availability"), 404, "not_found")
    for at in ("noon", "2026-12-04T09:15:00", "1796083200"):
        assert_problem(await get(staff, path, at=at), 422, "invalid")
