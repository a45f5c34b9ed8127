"""Reserve: what is held, what is refused and how the refusal reads."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.api.booking.conftest import Buyer
from tests.factories import Hall, create_hall
from tests.helpers.problems import assert_problem

pytestmark = pytest.mark.usefixtures("worker")


async def test_the_answer_has_the_shape_of_the_contract(ada: Buyer, hall: Hall) -> None:
    answer = await ada.reserve(hall, "A1", {"label": "A2", "ticket_type": "standard"})
    assert answer.status_code == 201
    booking = answer.json()
    assert booking["state"] == "held"
    assert booking["user_id"] == ada.user["id"]
    assert booking["show"]["id"] == str(hall.show_id)
    assert booking["show"]["timezone"] == "Europe/Berlin"
    assert [seat["label"] for seat in booking["seats"]] == ["A1", "A2"]
    assert booking["seats"][0]["price"] == {"amount": 1200, "currency": "EUR"}
    assert booking["total"] == {"amount": 2400, "currency": "EUR"}
    assert set(booking["hold"]) >= {"expires_at", "max_expires_at", "extensions_left", "server_now"}
    assert booking["hold"]["expires_at"] > booking["hold"]["server_now"]
    assert (booking["payment"], booking["refunds"], booking["case_id"]) == (None, [], None)
    assert (await ada.get(f"/api/booking/{booking['id']}")).json()["version"] == booking["version"]


async def test_a_rival_is_told_which_seats_are_gone(ada: Buyer, ben: Buyer, hall: Hall) -> None:
    await ada.held(hall, "A1", "A2")
    refused = assert_problem(await ben.reserve(hall, "A2", "A3"), 409, "seats_unavailable")
    assert refused["seats"] == ["A2"]
    assert refused["detail"] == "A2 is taken; choose other seats."
    await ben.held(hall, "A3")


async def best(buyer: Buyer, hall: Hall, **wanted: Any) -> Any:
    body = {"show_id": str(hall.show_id), "best_available": wanted}
    return await buyer.post("/api/booking/reserve", body)


async def test_best_available_is_the_first_block_of_neighbours(
    ada: Buyer, ben: Buyer, hall: Hall
) -> None:
    await ada.held(hall, "A3")
    answer = await best(ben, hall, count=3)
    assert answer.status_code == 201, answer.text
    assert [seat["label"] for seat in answer.json()["seats"]] == ["A4", "A5", "A6"]


async def test_best_available_passes_over_seats_that_are_not_sold(
    ada: Buyer, hall: Hall, engine: AsyncEngine
) -> None:
    async with engine.begin() as connection:
        statement = (
            "UPDATE seats SET price_class = 'crew' FROM shows"
            " WHERE seats.seat_map_id = shows.seat_map_id AND shows.id = :id AND label = 'A2'"
        )
        await connection.execute(text(statement), {"id": hall.show_id})
    answer = await best(ada, hall, count=2)
    assert answer.status_code == 201, answer.text
    assert [seat["label"] for seat in answer.json()["seats"]] == ["A3", "A4"]
    refused = assert_problem(await best(ada, hall, count=2, price_class="crew"), 409, "no_block")
    assert refused["largest_block"] == 0


async def test_no_block_says_how_large_one_can_be(ada: Buyer, hall: Hall) -> None:
    await ada.held(hall, "A5")
    refused = assert_problem(await best(ada, hall, count=6), 409, "no_block")
    assert refused["largest_block"] == 5
    refused = assert_problem(await best(ada, hall, count=1, accessible=True), 409, "no_block")
    assert refused["largest_block"] == 0


async def test_a_block_may_be_split_where_the_buyer_says_so(ada: Buyer, hall: Hall) -> None:
    await ada.held(hall, "A5")
    answer = await best(ada, hall, count=6, allow_split=True)
    assert answer.status_code == 201, answer.text
    labels = {seat["label"] for seat in answer.json()["seats"]}
    assert labels == {"A1", "A6", "A7", "A8", "A9", "A10"}
    refused = assert_problem(await best(ada, hall, count=6, allow_split=True), 409, "no_block")
    assert refused["largest_block"] == 3


async def test_a_price_class_that_the_show_has_not_is_named(ada: Buyer, hall: Hall) -> None:
    answer = await best(ada, hall, count=2, price_class="velvet")
    [error] = assert_problem(answer, 422, "invalid")["errors"]
    assert (error["in"], error["field"]) == ("body", "best_available.price_class")
    assert error["message"] == "This show has no such price class; it has standard."


@pytest.mark.parametrize(
    ("seat", "field"),
    [(7, "seats.0"), ({"label": "A1", "colour": "red"}, "seats.0.colour"), ("", "seats.0")],
)
async def test_what_is_wrong_with_a_seat_is_told_by_its_own_name(
    ada: Buyer, hall: Hall, seat: object, field: str
) -> None:
    refused = assert_problem(await ada.reserve(hall, seat), 422, "invalid")
    assert [error["field"] for error in refused["errors"]] == [field]


@pytest.mark.parametrize(
    ("seats", "status", "code"),
    [
        (["Z99"], 422, "unknown_seat"),
        (["A1", "A1"], 422, "duplicate_seat"),
        ([f"A{n}" for n in range(1, 12)], 422, "too_many_seats"),
        ([], 422, "invalid"),
        ("A1", 422, "invalid"),
        ([7], 422, "invalid"),
        ([{"label": "A1", "colour": "red"}], 422, "invalid"),
        ([{"label": "A1", "ticket_type": "child"}], 422, "unknown_seat"),
    ],
)
async def test_seats_that_make_no_sense(
    ada: Buyer, hall: Hall, seats: object, status: int, code: str
) -> None:
    body = {"show_id": str(hall.show_id), "seats": seats}
    assert_problem(await ada.post("/api/booking/reserve", body), status, code)


async def test_a_ticket_type_that_is_not_sold_costs_no_workflow(
    ada: Buyer, hall: Hall, engine: AsyncEngine
) -> None:
    child = {"label": "A2", "ticket_type": "child"}
    refused = assert_problem(await ada.reserve(hall, "A1", child), 422, "unknown_seat")
    assert refused["detail"] == "This show sells no child ticket for seat A2."
    assert refused["seats"] == ["A2"]
    asked = text("SELECT count(*) FROM booking_requests WHERE show_id = :id")
    async with engine.connect() as connection:
        assert await connection.scalar(asked, {"id": hall.show_id}) == 0


@pytest.mark.parametrize(
    "body",
    [
        {"seats": ["A1"]},
        {"show_id": "x", "seats": ["A1"]},
        {"show_id": str(uuid4())},
        {"show_id": str(uuid4()), "seats": ["A1"], "best_available": {"count": 2}},
        {"show_id": str(uuid4()), "best_available": {"count": 0}},
        {"show_id": str(uuid4()), "seats": ["A1"], "price": 1},
        [],
        "reserve",
        None,
    ],
)
async def test_bodies_that_make_no_sense(ada: Buyer, body: object) -> None:
    answer = await ada.client.post("/api/booking/reserve", json=body, headers=ada.headers)
    assert_problem(answer, 422, "invalid")


async def test_an_unknown_show_is_not_found(ada: Buyer) -> None:
    body = {"show_id": str(uuid4()), "seats": ["A1"]}
    assert_problem(await ada.post("/api/booking/reserve", body), 404, "not_found")


@pytest.mark.parametrize(
    "change",
    [
        "status = 'cancelled'",
        "status = 'scheduled'",
        "sales_close_at = now() - interval '1 minute'",
        "sales_open_at = now() + interval '1 hour'",
        # Whatever the end of its sale says.
        "starts_at = now() - interval '1 minute'",
    ],
)
async def test_a_show_that_is_not_on_sale(
    ada: Buyer, hall: Hall, engine: AsyncEngine, change: str
) -> None:
    async with engine.begin() as connection:
        statement = f"UPDATE shows SET {change} WHERE id = :id"  # noqa: S608
        await connection.execute(text(statement), {"id": hall.show_id})
    assert_problem(await ada.reserve(hall), 409, "sales_closed")


async def test_a_fourth_unpaid_hold_is_refused(ada: Buyer, hall: Hall) -> None:
    for label in ("A1", "A2", "A3"):
        await ada.held(hall, label)
    refused = assert_problem(await ada.reserve(hall, "A4"), 409, "limit_reached")
    assert refused["limit"] == "live_holds_per_user"
    # Nothing of the refused reserve is left: the seat is free for somebody else.
    availability = await ada.get(f"/api/show/{hall.show_id}/availability")
    assert "A4" not in availability.json()["seats"]


async def test_a_key_repeats_the_answer_and_guards_the_body(
    ada: Buyer, ben: Buyer, hall: Hall
) -> None:
    key = uuid4().hex
    first = await ada.reserve(hall, "A1", Idempotency_Key=key)
    again = await ada.reserve(hall, "A1", Idempotency_Key=key)
    assert again.status_code == 201
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    other = await ada.reserve(hall, "A2", Idempotency_Key=key)
    assert_problem(other, 422, "idempotency_key_reused")
    # The key is the user's own: for another user it is new.
    assert_problem(await ben.reserve(hall, "A1", Idempotency_Key=key), 409, "seats_unavailable")


async def test_a_free_show_is_confirmed_without_paying(ada: Buyer, engine: AsyncEngine) -> None:
    free = await create_hall(engine, price=0)
    booking = await ada.held(free)
    assert_problem(await ada.checkout(booking), 409, "nothing_to_pay")
    confirmed = await ada.confirm(booking)
    assert confirmed.status_code == 200, confirmed.text
    assert confirmed.json()["state"] == "confirmed"
