"""After a day an Idempotency-Key is as good as new, and what it booked then is not booked again."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.api.booking.conftest import Buyer
from tests.api.booking.test_repeats import best
from tests.factories import Hall, create_hall
from tests.helpers.problems import assert_problem

pytestmark = pytest.mark.usefixtures("worker")

HOURS_PASS = tuple(
    text(f"""
    UPDATE {table} SET created_at = created_at - make_interval(hours => :hours)
    WHERE user_id = :user
    """)  # noqa: S608
    for table in ("idempotency_keys", "booking_requests")
)
# As the sweep does, and as if the API had died before it could answer.
SWEPT = text("DELETE FROM idempotency_keys WHERE user_id = :user")
UNANSWERED = text("""
UPDATE idempotency_keys SET status = NULL, answer = NULL, content_type = NULL,
    lease_until = clock_timestamp() WHERE user_id = :user
""")
REQUESTS = text("SELECT count(*) FROM booking_requests WHERE show_id = :show AND user_id = :user")


async def write(engine: AsyncEngine, buyer: Buyer, *statements: TextClause, **values: Any) -> None:
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(statement, {"user": UUID(buyer.user["id"]), **values})


async def hours_pass(engine: AsyncEngine, buyer: Buyer, hours: int, marker: str) -> None:
    await write(engine, buyer, *HOURS_PASS, hours=hours)
    if marker != "kept":
        await write(engine, buyer, {"swept": SWEPT, "unanswered": UNANSWERED}[marker])


async def cancel(buyer: Buyer, booking: dict[str, Any]) -> None:
    answer = await buyer.post(f"/api/booking/{booking['id']}/cancel")
    assert answer.json()["state"] == "cancelled", answer.text


@pytest.mark.parametrize("marker", ["kept", "unanswered", "swept"])
async def test_what_was_refused_yesterday_is_asked_anew(
    ada: Buyer, hall: Hall, engine: AsyncEngine, marker: str
) -> None:
    key = uuid4().hex
    others = [await ada.held(hall, label) for label in ("A1", "A2", "A3")]
    refused = await ada.reserve(hall, "A4", Idempotency_Key=key)
    assert_problem(refused, 409, "limit_reached")
    await cancel(ada, others[0])
    await hours_pass(engine, ada, 23, "kept" if marker == "swept" else marker)
    again = await ada.reserve(hall, "A4", Idempotency_Key=key)
    assert (again.status_code, again.json()["code"]) == (409, "limit_reached")
    await hours_pass(engine, ada, 2, marker)
    booked = await ada.reserve(hall, "A4", Idempotency_Key=key)
    assert (booked.status_code, booked.json()["state"]) == (201, "held"), booked.text


@pytest.mark.parametrize("marker", ["kept", "unanswered", "swept"])
async def test_what_was_booked_yesterday_and_is_over_is_booked_anew(
    ada: Buyer, hall: Hall, engine: AsyncEngine, marker: str
) -> None:
    key = uuid4().hex
    first = await ada.reserve(hall, "A1", Idempotency_Key=key)
    await cancel(ada, first.json())
    await hours_pass(engine, ada, 23, "kept" if marker == "swept" else marker)
    again = await ada.reserve(hall, "A1", Idempotency_Key=key)
    assert again.json()["id"] == first.json()["id"]
    await hours_pass(engine, ada, 2, marker)
    booked = await ada.reserve(hall, "A1", Idempotency_Key=key)
    assert (booked.status_code, booked.json()["state"]) == (201, "held"), booked.text
    assert booked.json()["id"] != first.json()["id"]
    # Today the key is this booking's.
    for one in ("kept", "unanswered"):
        await hours_pass(engine, ada, 1, one)
        again = await ada.reserve(hall, "A1", Idempotency_Key=key)
        assert again.json()["id"] == booked.json()["id"]


@pytest.mark.parametrize("marker", ["kept", "swept"])
async def test_yesterdays_block_is_not_todays(
    ada: Buyer, ben: Buyer, hall: Hall, engine: AsyncEngine, marker: str
) -> None:
    key = uuid4().hex
    first = await best(ada, hall, key)
    await cancel(ada, first.json())
    await hours_pass(engine, ada, 25, marker)
    await ben.held(hall, "A1")
    booked = await best(ada, hall, key)
    assert booked.status_code == 201, booked.text
    assert [seat["label"] for seat in booked.json()["seats"]] == ["A2", "A3"]
    # Nothing is left of looking under yesterday's id.
    await ben.held(hall, "A4")


@pytest.mark.parametrize("marker", ["kept", "swept"])
async def test_what_was_paid_yesterday_stays_sold(
    ada: Buyer, engine: AsyncEngine, redis: Redis, marker: str
) -> None:
    """To the rivals and to the buyer, who is told so before any workflow."""
    free, key = await create_hall(engine, price=0), uuid4().hex
    first = (await ada.reserve(free, "A1", Idempotency_Key=key)).json()
    assert (await ada.confirm(first)).json()["state"] == "confirmed"
    mark = f"{{show:{free.show_id}}}:seat:A1"
    sold = await redis.get(mark)
    await hours_pass(engine, ada, 25, marker)
    again = await ada.reserve(free, "A1", Idempotency_Key=key)
    assert_problem(again, 409, "seats_unavailable")
    assert await redis.get(mark) == sold
    async with engine.connect() as connection:
        values = {"show": free.show_id, "user": UUID(ada.user["id"])}
        assert await connection.scalar(REQUESTS, values) == 1


async def test_a_repeat_that_meets_its_cancelled_booking_keeps_no_seat(
    ada: Buyer, ben: Buyer, hall: Hall, engine: AsyncEngine
) -> None:
    """Its marker is gone a moment before the key is over."""
    key = uuid4().hex
    first = await ada.reserve(hall, "A1", Idempotency_Key=key)
    await cancel(ada, first.json())
    await write(engine, ada, SWEPT)
    again = await ada.reserve(hall, "A1", Idempotency_Key=key)
    assert (again.status_code, again.json()["state"]) == (201, "cancelled")
    assert (await ben.reserve(hall, "A1")).status_code == 201
