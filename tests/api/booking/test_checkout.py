"""A pay page and its hold end at the same moment, and only the first page moves that."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.limits import MIN_CHECKOUT_SECONDS
from infra.settings import Settings
from tests.api.booking.conftest import Buyer, Json
from tests.factories import Hall
from tests.helpers.accounts import replaced_parts
from tests.helpers.problems import assert_problem
from tests.sandbox.process import NO_FAULTS, Sandbox

pytestmark = pytest.mark.usefixtures("worker")

ATTEMPTS = text("SELECT attempt FROM payments WHERE booking_id = :id ORDER BY attempt")


def moment(stamp: str) -> datetime:
    """To the millisecond, as the API tells it."""
    at = datetime.fromisoformat(stamp).astimezone(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


async def hold_of(buyer: Buyer, booking: Json) -> Json:
    found = (await buyer.get(f"/api/booking/{booking['id']}")).json()
    assert found["state"] == "held"
    return dict(found["hold"])


async def end_in(engine: AsyncEngine, booking: Json, seconds: int) -> None:
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "UPDATE bookings SET hold_expires_at = now() + make_interval(secs => :seconds)"
                " WHERE id = :id"
            ),
            {"id": booking["id"], "seconds": seconds},
        )


async def test_the_first_page_gives_time_to_pay_and_the_second_no_more(
    ada: Buyer, hall: Hall, provider: Sandbox, app: FastAPI, engine: AsyncEngine
) -> None:
    settings: Settings = app.state.parts.settings
    with replaced_parts(app, settings=settings.model_copy(update={"hold_seconds": 60})):
        booking = await ada.held(hall)
    before = datetime.now(UTC)
    first = (await ada.checkout(booking)).json()["payment"]
    hold = await hold_of(ada, booking)
    end = moment(hold["expires_at"])
    enough = timedelta(seconds=MIN_CHECKOUT_SECONDS)
    slack = timedelta(seconds=0.1)
    assert before + enough - slack <= end <= moment(hold["server_now"]) + enough + slack
    page = {"id": first["session_id"]}
    assert moment(first["expires_at"]) == moment(provider.look(page)["expires_at"]) == end

    provider.pay(page, "failed", webhooks={"deliver": False})
    assert_problem(await ada.confirm(booking), 402, "payment_failed")
    await end_in(engine, booking, 100)
    near = moment((await hold_of(ada, booking))["expires_at"])
    second = (await ada.checkout(booking)).json()["payment"]
    assert second["id"] != first["id"]
    async with engine.connect() as connection:
        assert (await connection.scalars(ATTEMPTS, {"id": booking["id"]})).all() == [1, 2]
    assert moment((await hold_of(ada, booking))["expires_at"]) == near
    page = {"id": second["session_id"]}
    assert moment(second["expires_at"]) == moment(provider.look(page)["expires_at"]) == near


async def test_a_provider_that_is_not_there_is_named(ada: Buyer, hall: Hall) -> None:
    path = f"/api/booking/{(await ada.held(hall))['id']}/checkout"
    for name in ("nobody", "Sandbox", "stripe"):
        [error] = assert_problem(await ada.post(path, {"provider": name}), 422, "invalid")["errors"]
        assert (error["in"], error["field"]) == ("body", "provider")
        assert error["message"] == "There is no such provider; checkout takes sandbox."


@pytest.mark.parametrize(
    ("return_url", "leads_to"),
    [
        ("", "http://127.0.0.1:8081/back"),
        ("https://shop.test/bookings/{booking_id}?paid", "https://shop.test/bookings/{}?paid"),
    ],
)
async def test_the_pay_page_sends_its_buyer_back_to_a_page(
    ada: Buyer, hall: Hall, provider: Sandbox, app: FastAPI, return_url: str, leads_to: str
) -> None:
    booking = await ada.held(hall)
    told = app.state.parts.settings.model_copy(update={"return_url": return_url})
    with replaced_parts(app, settings=told):
        payment = (await ada.checkout(booking)).json()["payment"]
    page = provider.look({"id": payment["session_id"]})
    assert page["return_url"] == leads_to.format(booking["id"])


async def test_of_checkouts_at_one_moment_one_opens_the_page(
    ada: Buyer, hall: Hall, provider: Sandbox
) -> None:
    booking = await ada.held(hall)
    provider.configure(latency_ms=1000)  # none of them comes to a page that is open
    try:
        answers = await asyncio.gather(*(ada.checkout(booking) for _ in range(6)))
    finally:
        provider.configure(**NO_FAULTS)
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    pages = {answer.json()["payment"]["checkout_url"] for answer in answers}
    assert len(pages) == 1
    assert None not in pages
