"""Extend, cancel, check out, confirm, read: what the owner may do, and nobody else."""

from __future__ import annotations

from uuid import uuid4

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.user import Role
from services import operator
from tests.api.booking.conftest import Buyer
from tests.factories import Hall
from tests.helpers.accounts import bearer, open_staff
from tests.helpers.problems import assert_problem
from tests.sandbox.process import Sandbox
from tests.stack.person import in_tables

pytestmark = pytest.mark.usefixtures("worker")
QUIET = {"deliver": False}


async def lapse(engine: AsyncEngine, booking_id: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE bookings SET hold_expires_at = now() - interval '1 s' WHERE id = :id"),
            {"id": booking_id},
        )


async def test_two_extensions_and_no_third(ada: Buyer, hall: Hall) -> None:
    booking = await ada.held(hall)
    path = f"/api/booking/{booking['id']}/extend"
    first = await ada.post(path)
    assert first.status_code == 200, first.text
    assert first.json()["hold"]["extensions_left"] == 1
    assert first.json()["hold"]["expires_at"] > booking["hold"]["expires_at"]
    assert (await ada.post(path)).json()["hold"]["extensions_left"] == 0
    assert_problem(await ada.post(path), 409, "extension_limit")


@pytest.mark.parametrize("body", [b'{"seconds": 9999}', b"{bad", b"[]", b"7"])
async def test_an_extension_that_asks_for_something_is_refused_and_not_spent(
    ada: Buyer, hall: Hall, body: bytes
) -> None:
    booking = await ada.held(hall)
    path = f"/api/booking/{booking['id']}/extend"
    typed = {**ada.headers, "Content-Type": "application/json"}
    assert_problem(await ada.client.post(path, content=body, headers=typed), 422, "invalid")
    for left, nothing in ((1, b""), (0, b"{}")):
        extended = await ada.client.post(path, content=nothing, headers=typed)
        assert extended.status_code == 200, extended.text
        assert extended.json()["hold"]["extensions_left"] == left


async def test_no_extension_of_an_open_pay_page_or_a_dead_hold(
    ada: Buyer, hall: Hall, engine: AsyncEngine
) -> None:
    paying, dead = await ada.held(hall, "A1"), await ada.held(hall, "A2")
    await ada.checkout(paying)
    assert_problem(await ada.post(f"/api/booking/{paying['id']}/extend"), 409, "payment_open")
    await lapse(engine, dead["id"])
    assert_problem(await ada.post(f"/api/booking/{dead['id']}/extend"), 410, "hold_expired")
    assert_problem(await ada.checkout(dead), 410, "hold_expired")


async def test_cancelling_twice_is_cancelling_once(ada: Buyer, hall: Hall) -> None:
    booking = await ada.held(hall)
    path = f"/api/booking/{booking['id']}/cancel"
    first = await ada.post(path, {"reason": "changed my mind"})
    assert (first.status_code, first.json()["state"]) == (200, "cancelled")
    again = await ada.post(path)
    assert (again.status_code, again.json()["state"]) == (200, "cancelled")
    assert_problem(await ada.confirm(booking), 409, "invalid_state")
    assert_problem(await ada.checkout(booking), 409, "invalid_state")


async def test_what_a_buyer_says_of_their_cancelling_is_kept_nowhere(
    ada: Buyer, hall: Hall, superuser_url: str
) -> None:
    """Events are for ever: what is written there of a person, no erasure reaches."""
    held, paying = await ada.held(hall, "A1"), await ada.held(hall, "A2")
    await ada.checkout(paying)
    word = f"Grace Hopper {uuid4().hex} is ill"
    for booking in (held, paying):
        answer = await ada.post(f"/api/booking/{booking['id']}/cancel", {"reason": word})
        assert answer.status_code == 200, answer.text
    assert in_tables(superuser_url, [word]) == {}
    assert "table events" in in_tables(superuser_url, [held["id"]]), "the control: it finds"


def test_why_an_operator_acts_is_told() -> None:
    assert operator.said("operator:anna", "The hall is closed.") == "The hall is closed."
    assert operator.said("system", "the saga ended early") == "the saga ended early"
    assert operator.said(str(uuid4()), "Grace Hopper is ill") == ""


async def test_checkout_answers_with_the_open_page(ada: Buyer, hall: Hall) -> None:
    booking = await ada.held(hall)
    first = await ada.checkout(booking)
    assert first.status_code == 201
    payment = first.json()["payment"]
    assert payment["status"] == "open"
    assert payment["checkout_url"].endswith(payment["session_id"])
    again = await ada.checkout(booking)
    assert (again.status_code, again.json()["payment"]) == (200, payment)
    unknown = await ada.post(f"/api/booking/{booking['id']}/checkout", {"provider": "piggybank"})
    assert 400 <= unknown.status_code < 500


async def test_paid_and_confirmed_with_signed_tickets(
    ada: Buyer, hall: Hall, provider: Sandbox, app: FastAPI
) -> None:
    booking = await ada.held(hall)
    assert_problem(await ada.confirm(booking, wait=0), 402, "payment_required")
    payment = (await ada.checkout(booking)).json()["payment"]
    unpaid = assert_problem(await ada.confirm(booking, wait=0), 402, "payment_required")
    assert unpaid["checkout_url"] == payment["checkout_url"]
    # Asked again within a second the provider is not read again, and nothing is paid all the same.
    again = assert_problem(await ada.confirm(booking, wait=0), 402, "payment_required")
    assert again["checkout_url"] == payment["checkout_url"]
    early = await ada.get(f"/api/booking/{booking['id']}/tickets")
    told = assert_problem(early, 409, "invalid_state")["detail"]
    assert told == "Tickets come with the confirmation."
    provider.pay({"id": payment["session_id"]}, "captured", webhooks=QUIET)
    confirmed = await ada.confirm(booking)
    assert (confirmed.status_code, confirmed.json()["state"]) == (200, "confirmed")
    assert confirmed.json()["payment"]["status"] == "captured"
    assert confirmed.json()["hold"] is None
    tickets = (await ada.get(f"/api/booking/{booking['id']}/tickets")).json()["items"]
    assert [ticket["label"] for ticket in tickets] == ["A1", "A2"]
    signer = app.state.parts.signer
    assert tickets[0]["id"] in signer.verify_ticket(tickets[0]["qr"])
    timeline = (await ada.get(f"/api/booking/{booking['id']}/timeline")).json()["items"]
    assert [entry["type"] for entry in timeline][:2] == ["ReservationCreated", "SeatLocked"]
    assert "A1, A2 went on hold." in [entry["text"] for entry in timeline]
    refused = assert_problem(
        await ada.post(f"/api/booking/{booking['id']}/cancel"), 409, "invalid_state"
    )
    assert "refund" in refused["detail"]


async def test_after_a_failed_payment_a_new_attempt(
    ada: Buyer, hall: Hall, provider: Sandbox
) -> None:
    booking = await ada.held(hall)
    first = (await ada.checkout(booking)).json()["payment"]
    provider.pay({"id": first["session_id"]}, "failed", webhooks=QUIET)
    assert_problem(await ada.confirm(booking), 402, "payment_failed")
    second = (await ada.checkout(booking)).json()["payment"]
    assert second["id"] != first["id"]
    assert provider.look({"id": first["session_id"]})["status"] == "expired"
    provider.pay({"id": second["session_id"]}, "captured", webhooks=QUIET)
    assert (await ada.confirm(booking)).status_code == 200


async def test_money_on_its_way_is_202(ada: Buyer, hall: Hall, provider: Sandbox) -> None:
    booking = await ada.held(hall)
    payment = (await ada.checkout(booking)).json()["payment"]
    provider.pay({"id": payment["session_id"]}, "processing", webhooks=QUIET)
    answer = await ada.confirm(booking, wait=0)
    assert answer.status_code == 202
    assert answer.headers["retry-after"]
    assert answer.json()["payment"]["status"] == "processing"


async def test_for_anybody_else_a_booking_does_not_exist(
    ada: Buyer, ben: Buyer, hall: Hall
) -> None:
    booking = await ada.held(hall)
    missing = uuid4()
    for path in ("", "/timeline", "/tickets"):
        foreign = await ben.get(f"/api/booking/{booking['id']}{path}")
        absent = await ben.get(f"/api/booking/{missing}{path}")
        assert_problem(foreign, 404, "not_found")
        assert foreign.json()["detail"] == absent.json()["detail"]
    for path, body in (
        ("/extend", None),
        ("/cancel", None),
        ("/checkout", {"provider": "sandbox"}),
    ):
        assert_problem(
            await ben.post(f"/api/booking/{booking['id']}{path}", body), 404, "not_found"
        )
    assert_problem(await ben.confirm(booking), 404, "not_found")
    assert_problem(await ben.get(f"/api/booking/user/{ada.user['id']}"), 404, "not_found")
    assert_problem(await ben.get("/api/booking/not-an-id"), 404, "not_found")


async def test_own_bookings_newest_first_page_by_page(ada: Buyer, hall: Hall) -> None:
    made = [(await ada.held(hall, label))["id"] for label in ("A1", "A2", "A3")]
    path = f"/api/booking/user/{ada.user['id']}"
    first = (await ada.get(path, limit=2)).json()
    assert [item["id"] for item in first["items"]] == made[:0:-1]
    rest = (await ada.get(path, limit=2, cursor=first["next"])).json()
    assert [item["id"] for item in rest["items"]] == made[:1]
    assert rest["next"] is None
    await ada.post(f"/api/booking/{made[0]}/cancel")
    cancelled = (await ada.get(path, state="cancelled")).json()["items"]
    assert [item["id"] for item in cancelled] == made[:1]
    for cursor in ("x", "e30=", "WyJhIiwiYiJd"):
        found = assert_problem(await ada.get(path, cursor=cursor), 422, "invalid")
        assert [(one["in"], one["field"]) for one in found["errors"]] == [("query", "cursor")]
    assert_problem(await ada.get(path, limit=101), 422, "invalid")
    assert_problem(await ada.get(path, state="dreaming"), 422, "invalid")


async def test_the_staff_can_tell_no_bookings_from_no_such_user(
    ada: Buyer, engine: AsyncEngine
) -> None:
    eve = bearer(await open_staff(ada.client, engine, Role.BOX_OFFICE))
    for headers in (ada.headers, eve):
        answer = await ada.client.get(f"/api/booking/user/{ada.user['id']}", headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"items": [], "next": None})
        missing = await ada.client.get(f"/api/booking/user/{uuid4()}", headers=headers)
        assert_problem(missing, 404, "not_found")


async def test_a_bearer_is_needed(ada: Buyer, hall: Hall) -> None:
    body = {"show_id": str(hall.show_id), "seats": ["A1"]}
    answer = await ada.client.post("/api/booking/reserve", json=body)
    assert_problem(answer, 401, "unauthenticated")
