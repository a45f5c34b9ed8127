"""What waits for its outcome is in its buyer's list, in its place and once."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.api.booking.conftest import Buyer
from tests.factories import Hall
from tests.helpers.saga import Saga

ADD = text("""
INSERT INTO booking_requests (id, user_id, show_id, body_hash, seats, ticket_types, outcome)
VALUES (:id, :user, :show, '', '{A5}', '{standard}', :outcome)
""")
ADD_PRICE = text("INSERT INTO prices VALUES (:show, 'standard', 'child', 600)")
UNSETTLE = text("UPDATE booking_requests SET outcome = NULL WHERE id = :id")
SETTLE = text("UPDATE booking_requests SET outcome = 'rejected' WHERE show_id = :show")


async def write(engine: AsyncEngine, statement: TextClause, **values: Any) -> None:
    async with engine.begin() as connection:
        await connection.execute(statement, values)


async def asked(engine: AsyncEngine, buyer: Buyer, hall: Hall, outcome: str | None = None) -> str:
    """A request that nobody has settled yet, or with its outcome; its id."""
    id_ = uuid4()
    user_id = UUID(buyer.user["id"])
    await write(engine, ADD, id=id_, user=user_id, show=hall.show_id, outcome=outcome)
    return str(id_)


async def listed(buyer: Buyer, **query: Any) -> list[tuple[str, str]]:
    """Every id with its state, page by page."""
    found: list[tuple[str, str]] = []
    more: str | None = None
    while True:
        page = {**query, **({"cursor": more} if more else {})}
        answer = (await buyer.get(f"/api/booking/user/{buyer.user['id']}", **page)).json()
        assert len(answer["items"]) <= query.get("limit", 20)
        found += [(item["id"], item["state"]) for item in answer["items"]]
        if (more := answer["next"]) is None:
            return found


async def test_pending_is_listed_where_it_belongs(
    ada: Buyer, ben: Buyer, hall: Hall, engine: AsyncEngine, saga: Saga
) -> None:
    async with saga.worker():
        first = (await ada.held(hall, "A1"))["id"]
        waiting = [await asked(engine, ada, hall)]
        second = (await ada.held(hall, "A2"))["id"]
    waiting.append(await asked(engine, ada, hall))
    await asked(engine, ada, hall, "rejected")
    await asked(engine, ben, hall)
    pending = [(waiting[1], "pending"), (waiting[0], "pending")]
    whole = [pending[0], (second, "held"), pending[1], (first, "held")]
    await write(engine, ADD_PRICE, show=hall.show_id)
    shown = (await ada.get(f"/api/booking/{waiting[0]}")).json()
    assert [seat["ticket_type"] for seat in shown["seats"]] == ["standard"]
    assert shown["total"] == shown["seats"][0]["price"] == {"amount": 1200, "currency": "EUR"}
    for limit in (1, 2, 3, 20):
        assert await listed(ada, limit=limit) == whole
        assert await listed(ada, limit=limit, state="pending") == pending
        assert await listed(ada, limit=limit, state="held") == [whole[1], whole[3]]
    # As if it had been held between the two looks.
    await write(engine, UNSETTLE, id=UUID(second))
    assert await listed(ada) == whole
    # No reaper of another test is to find them.
    await write(engine, SETTLE, show=hall.show_id)
    assert await listed(ada) == [whole[1], whole[3]]
