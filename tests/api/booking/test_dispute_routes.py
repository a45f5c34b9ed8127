"""Disputes as clients see them, told by signed webhooks in any order and number."""

from __future__ import annotations

import json
import random
from uuid import uuid4

import pytest

from infra.settings import Settings
from loops.inbox import InboxLoop
from tests.api.booking.conftest import Buyer
from tests.api.booking.test_refund_routes import bought
from tests.api.booking.test_webhooks import send, signed
from tests.factories import Hall
from tests.helpers.problems import assert_problem
from tests.helpers.saga import Saga
from tests.sandbox.process import Sandbox

pytestmark = pytest.mark.usefixtures("worker")


async def payment_of(buyer: Buyer, provider: Sandbox, path: str) -> str:
    """The provider's id of what was paid for a booking."""
    session_id = (await buyer.get(path)).json()["payment"]["session_id"]
    return str(provider.look({"id": session_id})["payments"][0]["id"])


async def deliver(
    buyer: Buyer, provider: Sandbox, path: str, saga: Saga, settings: Settings
) -> None:
    """Every event so far comes as a signed webhook, twice and in no order, and is worked on."""
    booking_id = path.rpartition("/")[2]
    events = [
        {key: event[key] for key in ("type", "timestamp", "data")}
        for event in provider.get("/test/ledger").json()["events"]
        if event["data"]["reference"] == booking_id
    ]
    for event in random.sample(events * 2, k=2 * len(events)):
        body = json.dumps(event)
        headers = signed(settings, body, event_id=f"evt_{uuid4().hex}")
        assert (await send(buyer.client, body, headers)).status_code == 204
    loop = InboxLoop(saga.work, saga.news)
    while await loop.one_pass():
        pass


async def test_tickets_stay_valid_and_refunds_wait_until_the_dispute_is_won(
    ada: Buyer, hall: Hall, provider: Sandbox, saga: Saga, settings: Settings
) -> None:
    path = await bought(ada, hall, provider)
    provider.dispute(await payment_of(ada, provider, path), "opened")
    await deliver(ada, provider, path, saga, settings)
    booking = (await ada.get(path)).json()
    assert (booking["state"], booking["payment"]["status"]) == ("disputed", "disputed")
    assert booking["case_id"]
    tickets = (await ada.get(f"{path}/tickets")).json()["items"]
    assert [(one["label"], one["status"]) for one in tickets] == [("A1", "valid"), ("A2", "valid")]
    assert_problem(await ada.get(f"{path}/refund-quote"), 409, "payment_disputed")
    assert_problem(await ada.post(f"{path}/refund"), 409, "payment_disputed")
    assert_problem(await ada.post(f"{path}/cancel"), 409, "invalid_state")

    provider.dispute(await payment_of(ada, provider, path), "won")
    await deliver(ada, provider, path, saga, settings)
    booking = (await ada.get(path)).json()
    assert (booking["state"], booking["payment"]["status"]) == ("confirmed", "captured")
    assert (await ada.get(f"{path}/refund-quote")).status_code == 200
    told = [one["text"] for one in (await ada.get(f"{path}/timeline")).json()["items"]]
    assert "The dispute ended: won." in told


async def test_a_lost_dispute_voids_the_tickets_and_sells_the_seats_again(
    ada: Buyer, ben: Buyer, hall: Hall, provider: Sandbox, saga: Saga, settings: Settings
) -> None:
    path = await bought(ada, hall, provider)
    provider.dispute(await payment_of(ada, provider, path), "lost")
    await deliver(ada, provider, path, saga, settings)
    booking = (await ada.get(path)).json()
    assert (booking["state"], booking["payment"]["status"]) == ("charged_back", "disputed")
    assert [seat["released"] for seat in booking["seats"]] == [True, True]
    tickets = (await ada.get(f"{path}/tickets")).json()["items"]
    assert [one["status"] for one in tickets] == ["void", "void"]
    assert_problem(await ada.post(f"{path}/refund"), 409, "invalid_state")
    assert (await ben.held(hall))["state"] == "held"
