"""Refunds over HTTP: a quote first, then the refund, and who may ask for what."""

from __future__ import annotations

from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from infra.settings import Settings
from infra.temporal import TemporalBookingProcess
from seathold.admin import create_admin
from services.refund_desk import RefundDesk
from tests.api.booking.conftest import Buyer, Json
from tests.factories import Hall, create_hall
from tests.helpers.accounts import PASSWORD, bearer, new_email, replaced_parts
from tests.helpers.eventually import eventually
from tests.helpers.problems import assert_problem
from tests.helpers.saga import Saga
from tests.sandbox.process import Sandbox
from tests.stack.person import in_tables

pytestmark = pytest.mark.usefixtures("worker")
NOWHERE = "127.0.0.1:1"
WHOLE = {"amount": 2400, "currency": "EUR"}
HALF = {"amount": 1200, "currency": "EUR"}


@pytest.fixture
async def hall(engine: AsyncEngine) -> Hall:
    return await create_hall(engine, starts_in_hours=48)


@pytest.fixture
async def eve(client: httpx2.AsyncClient, settings: Settings) -> Buyer:
    """A member of staff."""
    email = new_email()
    await create_admin(settings, email, PASSWORD, another=True)
    answer = await client.post("/api/auth/login", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return Buyer(client, bearer(answer.json()), answer.json()["user"])


async def bought(buyer: Buyer, hall: Hall, provider: Sandbox) -> str:
    """The path of a confirmed booking of two seats."""
    booking = await buyer.held(hall)
    payment = (await buyer.checkout(booking)).json()["payment"]
    provider.pay({"id": payment["session_id"]}, "captured", webhooks={"deliver": False})
    confirmed = await buyer.confirm(booking, wait=30)
    assert confirmed.status_code == 200, confirmed.text
    return f"/api/booking/{booking['id']}"


async def settled(buyer: Buyer, path: str, count: int) -> Json:
    """The booking once so many of its refunds have succeeded."""
    seen: list[Json] = []

    async def done() -> bool:
        seen.append((await buyer.get(path)).json())
        return [one["status"] for one in seen[-1]["refunds"]] == ["succeeded"] * count

    await eventually(done, seconds=60, message="the refund was not settled")
    return seen[-1]


async def test_a_quote_then_one_seat_then_the_rest(
    ada: Buyer, hall: Hall, provider: Sandbox
) -> None:
    path = await bought(ada, hall, provider)
    quoted = (await ada.get(f"{path}/refund-quote")).json()
    assert (quoted["amount"], quoted["percent"], quoted["seats"]) == (WHOLE, 100, ["A1", "A2"])
    assert quoted["expires_at"].endswith("Z")
    one = (await ada.get(f"{path}/refund-quote", seats="A2")).json()
    assert (one["amount"], one["seats"]) == (HALF, ["A2"])

    asked = await ada.post(f"{path}/refund", {"seats": ["A2"], "expected": one["amount"]})
    assert asked.status_code == 202, asked.text
    assert asked.headers["retry-after"]
    assert asked.json()["state"] == "confirmed"
    booking = await settled(ada, path, 1)
    assert booking["state"] == "confirmed"
    assert booking["refunds"][0]["amount"] == HALF
    assert booking["refunds"][0]["seats"] == ["A2"]
    assert [seat["released"] for seat in booking["seats"]] == [False, True]
    tickets = (await ada.get(f"{path}/tickets")).json()["items"]
    assert [ticket["label"] for ticket in tickets] == ["A1"]

    assert_problem(await ada.get(f"{path}/refund-quote", seats="A2"), 409, "seat_refunded")
    whole = await ada.post(f"{path}/refund")
    assert (whole.status_code, whole.json()["state"]) == (202, "refund_pending")
    done = await settled(ada, path, 2)
    assert (done["state"], done["payment"]["status"]) == ("refunded", "refunded")
    assert [refund["number"] for refund in done["refunds"]] == [1, 2]
    none = assert_problem(await ada.get(f"{path}/tickets"), 409, "invalid_state")
    assert none["detail"] == "The booking is refunded; there are no tickets."
    assert_problem(await ada.get(f"{path}/refund-quote"), 409, "invalid_state")
    assert_problem(await ada.post(f"{path}/refund"), 409, "invalid_state")
    sentences = [entry["text"] for entry in (await ada.get(f"{path}/timeline")).json()["items"]]
    assert sentences[-1] == "The booking was refunded; it holds no seat any more."


async def test_a_quote_that_has_changed_is_told(
    ada: Buyer, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    path = await bought(ada, hall, provider)
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "UPDATE shows SET starts_at = now() + interval '3 hours',"
                " ends_at = now() + interval '5 hours', free_at = now() + interval '5 hours'"
                " WHERE id = :id"
            ),
            {"id": hall.show_id},
        )
    answer = await ada.post(f"{path}/refund", {"expected": WHOLE})
    found = assert_problem(answer, 409, "quote_changed")
    assert (found["quote"]["amount"], found["quote"]["percent"]) == (HALF, 50)
    assert (await ada.get(path)).json()["refunds"] == []


async def test_the_same_key_is_the_same_refund(ada: Buyer, hall: Hall, provider: Sandbox) -> None:
    path = await bought(ada, hall, provider)
    for _ in range(2):
        answer = await ada.post(f"{path}/refund", {"seats": ["A1"]}, Idempotency_Key="once")
        assert answer.status_code == 202, answer.text
    await settled(ada, path, 1)
    late = await ada.post(f"{path}/refund", {"seats": ["A1"]}, Idempotency_Key="once")
    assert late.status_code == 202, late.text
    assert len(late.json()["refunds"]) == 1


async def test_only_staff_name_a_sum(ada: Buyer, eve: Buyer, hall: Hall, provider: Sandbox) -> None:
    path = await bought(ada, hall, provider)
    body = {"amount": {"amount": 300, "currency": "EUR"}, "reason": "The sound was bad."}
    assert_problem(await ada.post(f"{path}/refund", body), 403, "forbidden")
    answer = await eve.post(f"{path}/refund", body)
    assert answer.status_code == 202, answer.text
    booking = await settled(ada, path, 1)
    assert (booking["state"], booking["refunds"][0]["reason"]) == ("confirmed", "goodwill")
    more = {"amount": {"amount": 2101, "currency": "EUR"}}
    found = assert_problem(await eve.post(f"{path}/refund", more), 409, "exceeds_captured")
    assert found["left"] == {"amount": 2100, "currency": "EUR"}


async def test_a_sum_that_staff_name_for_themselves_is_noted_too(
    eve: Buyer, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    """It is their power that names it; what anybody gets back for their seats is nobody's."""
    path = await bought(eve, hall, provider)
    sum_ = {"amount": {"amount": 300, "currency": "EUR"}, "reason": "The sound was bad."}
    for body in (sum_, {"seats": ["A1"]}):
        assert (await eve.post(f"{path}/refund", body)).status_code == 202
    noted = "SELECT actor, role, reason, details FROM audit_log WHERE action = 'booking.refund'"
    booking_id = path.rpartition("/")[2]
    async with engine.connect() as connection:
        found = await connection.execute(
            text(f"{noted} AND target = :it"), {"it": f"booking:{booking_id}"}
        )
        rows = [tuple(row) for row in found]
    details = {"number": 1, "seats": None, "amount": sum_["amount"]}
    assert rows == [(eve.user["id"], "owner", "The sound was bad.", details)]


async def test_what_a_buyer_says_of_their_refund_goes_with_them(
    ada: Buyer, hall: Hall, provider: Sandbox, superuser_url: str
) -> None:
    path, word = await bought(ada, hall, provider), f"Grace Hopper {uuid4().hex} is ill"
    answer = await ada.post(f"{path}/refund", {"seats": ["A1"], "reason": word})
    assert answer.status_code == 202, answer.text
    await settled(ada, path, 1)
    assert in_tables(superuser_url, [word]) == {"table refunds": [word]}, "the control"
    erased = await ada.client.delete("/api/me", headers=ada.headers)
    assert erased.status_code == 204
    assert in_tables(superuser_url, [word]) == {}


async def test_nobody_else_learns_of_it(ada: Buyer, ben: Buyer, hall: Hall) -> None:
    held = f"/api/booking/{(await ada.held(hall))['id']}"
    for path in (held, f"/api/booking/{uuid4()}"):
        assert_problem(await ben.get(f"{path}/refund-quote"), 404, "not_found")
        assert_problem(await ben.post(f"{path}/refund"), 404, "not_found")
        sum_ = {"amount": {"amount": 1, "currency": "EUR"}}
        assert_problem(await ben.post(f"{path}/refund", sum_), 404, "not_found")
    assert_problem(await ada.get(f"{held}/refund-quote"), 409, "invalid_state")
    assert_problem(await ada.post(f"{held}/refund"), 409, "invalid_state")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"seats": ["B9"]}, "unknown_seat"),
        ({"seats": ["A1", "A1"]}, "duplicate_seat"),
        ({"seats": []}, "invalid"),
        ({"amount": {"amount": -1, "currency": "EUR"}}, "invalid"),
        ({"expected": 2400}, "invalid"),
        ({"colour": "red"}, "invalid"),
    ],
)
async def test_a_wish_that_makes_no_sense_is_422(
    ada: Buyer, hall: Hall, provider: Sandbox, body: Json, code: str
) -> None:
    path = await bought(ada, hall, provider)
    assert_problem(await ada.post(f"{path}/refund", body), 422, code)


@pytest.mark.parametrize("seats", ["", " ", "A1,", "A1,,A2"])
async def test_a_seat_without_a_label_is_not_looked_for(
    ada: Buyer, hall: Hall, provider: Sandbox, seats: str
) -> None:
    path = await bought(ada, hall, provider)
    refused = await ada.get(f"{path}/refund-quote", seats=seats)
    assert_problem(refused, 422, "invalid")
    assert "one of them is empty" in refused.json()["detail"]


async def test_with_temporal_away_the_refund_is_on_record_and_started_later(
    ada: Buyer, hall: Hall, provider: Sandbox, app: FastAPI, saga: Saga, settings: Settings
) -> None:
    """What goes back is what the operator has set, and what was quoted."""
    path = await bought(ada, hall, provider)
    nowhere = TemporalBookingProcess(await Client.connect(NOWHERE, lazy=True))
    other = settings.model_copy(update={"refund_brackets": "1h:90"})
    desk = RefundDesk(saga.begin, nowhere, other.brackets)
    with replaced_parts(app, refunds=desk, settings=other):
        quote = (await ada.get(f"{path}/refund-quote")).json()
        answer = await ada.post(f"{path}/refund")
    assert (answer.status_code, answer.json()["state"]) == (202, "refund_pending")
    assert answer.json()["refunds"][0]["amount"] == quote["amount"]
    assert quote["amount"] == {"amount": 2160, "currency": "EUR"}
    for booking_id, number in await saga.work.asked_refunds(seconds=0, limit=50):
        await saga.process.refund(booking_id, number, None)
    assert (await settled(ada, path, 1))["state"] == "refunded"
