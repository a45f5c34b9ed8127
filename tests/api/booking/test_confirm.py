"""Confirm looks at the provider before it answers, and not oftener than it may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from uuid import UUID

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.payment import ProviderSession
from infra.gateways.sandbox import SandboxGateway
from infra.settings import Settings
from tests.api.booking.conftest import Buyer, Json
from tests.factories import Hall
from tests.helpers.accounts import replaced_parts
from tests.helpers.eventually import eventually
from tests.helpers.problems import assert_problem
from tests.helpers.saga import Saga
from tests.sandbox.process import Sandbox

pytestmark = pytest.mark.usefixtures("worker")
QUIET = {"deliver": False}


class Counting(SandboxGateway):
    reads = 0

    async def read_session(self, session_id: str) -> ProviderSession:
        self.reads += 1
        return await super().read_session(session_id)


class Overtaken(SandboxGateway):
    """While its page is read, the booking comes to its end."""

    def __init__(self, url: str, meanwhile: Callable[[], Awaitable[object]]) -> None:
        super().__init__(url)
        self._meanwhile = meanwhile

    async def read_session(self, session_id: str) -> ProviderSession:
        await self._meanwhile()
        return await super().read_session(session_id)


@pytest.fixture
async def counting(provider: Sandbox) -> AsyncIterator[Counting]:
    gateway = Counting(provider.url)
    yield gateway
    await gateway.aclose()


async def on_a_page(buyer: Buyer, hall: Hall) -> tuple[Json, Json]:
    """A held booking, and its open pay page."""
    booking = await buyer.held(hall)
    payment = (await buyer.checkout(booking)).json()["payment"]
    return booking, {"id": payment["session_id"]}


async def declined(buyer: Buyer, hall: Hall, provider: Sandbox) -> tuple[Json, Json]:
    """A held booking whose card was declined, and the page where it was."""
    booking, page = await on_a_page(buyer, hall)
    provider.pay(page, "failed", webhooks=QUIET)
    assert_problem(await buyer.confirm(booking), 402, "payment_failed")
    return booking, page


async def test_another_card_on_the_page_of_a_failed_payment_confirms(
    ada: Buyer, hall: Hall, provider: Sandbox
) -> None:
    booking, page = await declined(ada, hall, provider)
    provider.pay(page, "captured", webhooks=QUIET)
    confirmed = await ada.confirm(booking)
    assert (confirmed.status_code, confirmed.json()["state"]) == (200, "confirmed")


async def test_money_on_its_way_after_a_failure_is_202(
    ada: Buyer, hall: Hall, provider: Sandbox
) -> None:
    booking, page = await declined(ada, hall, provider)
    provider.pay(page, "processing", webhooks=QUIET)
    answer = await ada.confirm(booking, wait=2)
    assert (answer.status_code, answer.json()["state"]) == (202, "held")


async def test_money_of_the_wrong_sum_is_a_failed_payment(
    ada: Buyer, hall: Hall, provider: Sandbox
) -> None:
    booking, page = await on_a_page(ada, hall)
    provider.pay(page, "captured", amount=1, webhooks=QUIET)
    # What the first answer was made of is read back, and what the second finds is on record.
    for _ in range(2):
        refused = assert_problem(await ada.confirm(booking), 402, "payment_failed")
        assert "goes back" in refused["detail"]
    again = (await ada.checkout(booking)).json()["payment"]
    provider.pay({"id": again["session_id"]}, "captured", webhooks=QUIET)
    assert (await ada.confirm(booking)).status_code == 200


async def test_a_hold_that_ran_out_is_gone(ada: Buyer, hall: Hall, app: FastAPI) -> None:
    settings: Settings = app.state.parts.settings
    with replaced_parts(app, settings=settings.model_copy(update={"hold_seconds": 1})):
        booking = (await ada.reserve(hall)).json()

    async def has_expired() -> bool:
        found = await ada.get(f"/api/booking/{booking['id']}")
        return bool(found.json()["state"] == "expired")

    await eventually(has_expired, seconds=60)
    assert_problem(await ada.confirm(booking), 410, "hold_expired")


async def test_who_cancelled_meanwhile_is_not_told_to_check_out_again(
    ada: Buyer, hall: Hall, provider: Sandbox, app: FastAPI, saga: Saga
) -> None:
    booking, _ = await on_a_page(ada, hall)

    async def cancel() -> None:
        await ada.post(f"/api/booking/{booking['id']}/cancel")

        async def is_over() -> bool:
            found = await ada.get(f"/api/booking/{booking['id']}")
            return bool(found.json()["state"] == "cancelled")

        await eventually(is_over, seconds=60)

    gateway = Overtaken(provider.url, cancel)
    with replaced_parts(app, desk=replace(saga, gateways={gateway.name: gateway}).desk):
        assert_problem(await ada.confirm(booking), 409, "invalid_state")
    await gateway.aclose()


async def test_an_unpaid_hold_whose_page_is_being_closed_is_gone(
    ada: Buyer, hall: Hall, engine: AsyncEngine
) -> None:
    booking, _ = await on_a_page(ada, hall)
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "UPDATE bookings SET state = 'expiring', close_reason = 'lapsed',"
                " closing_since = clock_timestamp() WHERE id = :id"
            ),
            {"id": UUID(booking["id"])},
        )
    assert_problem(await ada.confirm(booking), 410, "hold_expired")


async def test_the_provider_is_read_once_a_second_however_many_ask(
    ada: Buyer, hall: Hall, provider: Sandbox, app: FastAPI, saga: Saga, counting: Counting
) -> None:
    booking, page = await on_a_page(ada, hall)
    provider.pay(page, "processing", webhooks=QUIET)
    desk = replace(saga, gateways={counting.name: counting}).desk
    clock = asyncio.get_running_loop().time
    start = clock()
    with replaced_parts(app, desk=desk):
        answers = await asyncio.gather(*(ada.confirm(booking, wait=2) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [202] * 5
    assert 2 <= counting.reads <= 1 + int(clock() - start)
