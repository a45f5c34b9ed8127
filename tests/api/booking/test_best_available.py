"""Many who leave the choice of their seats to us choose at the same moment."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from api.commands import bookings
from tests.api.booking.conftest import Buyer
from tests.factories import Hall, create_hall
from tests.helpers.accounts import RegisterUser
from tests.helpers.problems import assert_problem

pytestmark = pytest.mark.usefixtures("worker")
BUYERS = 12


@pytest.fixture
async def crowd(client: httpx2.AsyncClient, register_user: RegisterUser) -> list[Buyer]:
    accounts = [await register_user() for _ in range(BUYERS)]
    return [Buyer(client, headers, user) for user, headers in accounts]


async def all_at_once(crowd: list[Buyer], hall: Hall) -> list[httpx2.Response]:
    body = {"show_id": str(hall.show_id), "best_available": {"count": 2}}
    return list(
        await asyncio.gather(*(buyer.post("/api/booking/reserve", body) for buyer in crowd))
    )


async def test_each_of_many_gets_seats_while_there_are_some(
    crowd: list[Buyer], engine: AsyncEngine
) -> None:
    hall = await create_hall(engine, seats=4 * BUYERS)
    answers = await all_at_once(crowd, hall)
    assert Counter(answer.status_code // 100 for answer in answers) == {2: BUYERS}


async def test_without_choosing_apart_most_are_turned_away(
    crowd: list[Buyer], engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control; and what they are told is that it may be tried again."""
    monkeypatch.setattr(bookings, "BEST_AVAILABLE_TRIES", 2)
    monkeypatch.setattr(bookings, "BEST_AVAILABLE_SPREAD", 1)
    hall = await create_hall(engine, seats=4 * BUYERS)
    answers = await all_at_once(crowd, hall)
    refused = [answer for answer in answers if answer.status_code // 100 != 2]
    assert len(refused) > BUYERS / 2
    for answer in refused:
        assert_problem(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
