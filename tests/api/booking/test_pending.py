"""A reserve without an outcome, or refused: its buyer's to see, and no command acts on it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from tests.api.booking.conftest import Buyer, Json
from tests.factories import Hall, create_hall
from tests.helpers.problems import assert_problem
from tests.helpers.saga import Saga

COMMANDS: dict[str, Json] = {
    "extend": {},
    "cancel": {},
    "checkout": {"provider": "sandbox"},
    "refund": {},
    "offer/accept": {},
    "offer/decline": {},
}


async def asked_for(buyer: Buyer, hall: Hall) -> Json:
    """A booking whose reserve no worker has heard of."""
    answer = await buyer.reserve(hall, "A1")
    assert answer.status_code == 202, answer.text
    booking: Json = answer.json()
    assert booking["state"] == "pending"
    return booking


async def written_down(saga: Saga, buyer: Buyer, hall: Hall) -> Json:
    """A booking whose reserve got no further than its request."""
    input = hall.input("A1", user_id=buyer.user["id"])
    async with saga.begin() as tx:
        await tx.bookings.add_request(input, key_hash=None, body_hash=b"body")
    return {"id": input.booking_id}


async def test_while_it_is_pending_every_command_says_when_to_ask_again(
    ada: Buyer, ben: Buyer, hall: Hall, owner: dict[str, str], saga: Saga
) -> None:
    booking = await written_down(saga, ada, hall)
    path = f"/api/booking/{booking['id']}"
    staff = replace(ada, headers=owner)
    answers = [await ada.post(f"{path}/{verb}", body) for verb, body in COMMANDS.items()]
    answers += [await ada.get(f"{path}/refund-quote"), await staff.post(f"{path}/refund")]
    for answer in answers:
        found = assert_problem(answer, 409, "invalid_state")
        assert "no outcome yet" in found["detail"]
        assert int(answer.headers["retry-after"]) > 0
    for verb, body in COMMANDS.items():
        assert_problem(await ben.post(f"{path}/{verb}", body), 404, "not_found")
    assert_problem(await ben.get(f"{path}/refund-quote"), 404, "not_found")
    assert_problem(await ben.confirm(booking), 404, "not_found")


async def test_a_refused_one_is_refused_whatever_is_asked_of_it(
    ada: Buyer, ben: Buyer, hall: Hall, saga: Saga
) -> None:
    booking = await written_down(saga, ada, hall)
    path = f"/api/booking/{booking['id']}"
    async with saga.begin() as tx:
        refusal = {"code": "unavailable", "detail": "The request is too old."}
        tx.bookings.reject_request(UUID(booking["id"]), refusal)
    assert (await ada.get(path)).json()["state"] == "rejected"
    answers = [await ada.post(f"{path}/{verb}", body) for verb, body in COMMANDS.items()]
    answers += [await ada.get(f"{path}/refund-quote"), await ada.confirm(booking)]
    for answer in answers:
        assert_problem(answer, 409, "invalid_state")
        assert "retry-after" not in answer.headers
    assert_problem(await ben.post(f"{path}/extend"), 404, "not_found")
    assert_problem(await ben.confirm(booking), 404, "not_found")


async def test_the_answer_to_a_pending_one_is_not_the_answer_for_a_day(
    ada: Buyer, hall: Hall, saga: Saga
) -> None:
    booking = await asked_for(ada, hall)
    path = f"/api/booking/{booking['id']}/extend"
    assert_problem(await ada.post(path, Idempotency_Key="early"), 409, "invalid_state")
    async with saga.worker():
        assert (await ada.confirm(booking, wait=30)).status_code == 402
        again = await ada.post(path, Idempotency_Key="early")
    assert again.status_code == 200, again.text
    assert "idempotent-replayed" not in again.headers


async def test_confirm_waits_for_the_outcome_and_goes_on(
    ada: Buyer, engine: AsyncEngine, saga: Saga
) -> None:
    booking = await asked_for(ada, await create_hall(engine, price=0))
    early = await ada.confirm(booking, wait=0)
    assert (early.status_code, early.json()["state"]) == (202, "pending")
    assert int(early.headers["retry-after"]) > 0
    waiting = asyncio.create_task(ada.confirm(booking, wait=30))
    async with saga.worker():
        confirmed = await waiting
    assert (confirmed.status_code, confirmed.json()["state"]) == (200, "confirmed")
