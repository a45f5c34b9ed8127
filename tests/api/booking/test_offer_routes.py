"""An offer of other seats over HTTP: shown in the booking, answered once, by its buyer only."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.api.booking.conftest import Buyer, Json
from tests.factories import Hall, create_hall
from tests.helpers.late import Late, rival_takes, write
from tests.helpers.problems import assert_problem
from tests.helpers.saga import Saga
from tests.sandbox.process import Sandbox

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
async def hall(engine: AsyncEngine) -> Hall:
    return await create_hall(engine, starts_in_hours=48, offers_seats=True)


async def offered(
    buyer: Buyer, hall: Hall, saga: Saga, provider: Sandbox, engine: AsyncEngine
) -> tuple[str, Late, str]:
    """The path of an expired booking with an open offer, and its payment."""
    theirs = replace(hall, user_id=UUID(buyer.user["id"]))
    late = await Late.expired(saga, theirs, provider)
    await rival_takes(engine, saga, hall, "A2")
    receipt_id = await late.pay()
    await late.offered(receipt_id)
    return f"/api/booking/{late.input.booking_id}", late, receipt_id


async def test_an_offer_is_shown_and_accepted_once(
    ada: Buyer, ben: Buyer, hall: Hall, saga: Saga, provider: Sandbox, engine: AsyncEngine
) -> None:
    path, late, receipt_id = await offered(ada, hall, saga, provider, engine)
    booking: Json = (await ada.get(path)).json()
    assert booking["state"] == "expired"
    assert [seat["label"] for seat in booking["offer"]["seats"]] == ["A3", "A4"]
    assert booking["offer"]["total"] == booking["total"] == {"amount": 2400, "currency": "EUR"}
    assert booking["offer"]["server_now"] < booking["offer"]["expires_at"]
    assert_problem(await ben.post(f"{path}/offer/accept"), 404, "not_found")

    for _ in range(2):
        answer = await ada.post(f"{path}/offer/accept")
        assert answer.status_code == 200, answer.text
        assert answer.json()["state"] == "confirmed"
        assert answer.json()["offer"] is None
        assert [seat["label"] for seat in answer.json()["seats"]] == ["A3", "A4"]
    assert_problem(await ada.post(f"{path}/offer/decline"), 409, "invalid_state")
    tickets = (await ada.get(f"{path}/tickets")).json()["items"]
    assert [ticket["label"] for ticket in tickets] == ["A3", "A4"]
    assert await late.outcome(receipt_id) == "confirmed"
    told = [entry["type"] for entry in (await ada.get(f"{path}/timeline")).json()["items"]]
    assert told.count("LatePaymentAccepted") == 1


async def test_a_declined_offer_sends_the_money_back(
    ada: Buyer, hall: Hall, saga: Saga, provider: Sandbox, engine: AsyncEngine
) -> None:
    path, late, receipt_id = await offered(ada, hall, saga, provider, engine)
    for _ in range(2):
        answer = await ada.post(f"{path}/offer/decline")
        assert answer.status_code == 200, answer.text
        assert (answer.json()["state"], answer.json()["offer"]) == ("expired", None)
    assert_problem(await ada.post(f"{path}/offer/accept"), 409, "invalid_state")
    assert await late.outcome(receipt_id) == "succeeded"
    assert (await ada.get(path)).json()["payment"]["status"] == "refunded"


async def test_an_offer_that_has_run_out_is_gone(
    ada: Buyer, hall: Hall, saga: Saga, provider: Sandbox, engine: AsyncEngine
) -> None:
    path, late, receipt_id = await offered(ada, hall, saga, provider, engine)
    await write(
        engine,
        "UPDATE seat_offers SET expires_at = now() WHERE provider_payment_id = :id",
        receipt_id,
    )
    assert_problem(await ada.post(f"{path}/offer/accept"), 410, "offer_expired")
    assert await late.outcome(receipt_id) == "succeeded"


async def test_without_an_offer_there_is_nothing_to_answer(ada: Buyer, hall: Hall) -> None:
    booking = await ada.held(hall)
    assert booking["offer"] is None
    for verb in ("accept", "decline"):
        answer = await ada.post(f"/api/booking/{booking['id']}/offer/{verb}")
        assert_problem(answer, 409, "invalid_state")
    assert_problem(await ada.post(f"/api/booking/{UUID(int=1)}/offer/accept"), 404, "not_found")
    assert_problem(await ada.post("/api/booking/x/offer/accept"), 404, "not_found")
