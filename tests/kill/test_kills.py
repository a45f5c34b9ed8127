"""Parts of a running stack are killed in the middle of bookings; every booking ends right."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, wait
from uuid import uuid4

import pytest
from redis import Redis

from tests.kill.town import Town
from tests.stack.command import wait_for

pytestmark = pytest.mark.timeout(180)


def test_worker_killed_while_it_holds_seats(town: Town) -> None:
    before = town.dev.info["processes"]["worker"]
    reserves = town.begin_reserves(8)
    wait(reserves, return_when=FIRST_COMPLETED)
    town.kill("worker")
    assert any(not reserve.done() for reserve in reserves)
    bookings = [reserve.result() for reserve in reserves]
    town.wait_restarted("worker", before)
    town.assert_ends(left=bookings)


def test_worker_killed_while_it_confirms(town: Town) -> None:
    bookings = town.hold(10)
    paid, left = bookings[:8], bookings[8:]
    payments = town.open_pages(paid)
    before = town.dev.info["processes"]["worker"]
    paying = [town.pool.submit(town.buyer.pay, payment, "captured") for payment in payments]
    wait(paying, return_when=FIRST_COMPLETED)
    town.kill("worker")
    assert any(town.state(booking) == "held" for booking in paid)
    for payment in paying:
        payment.result()
    town.wait_restarted("worker", before)
    town.assert_ends(paid=paid, left=left)


def test_api_killed_while_it_reserves(town: Town) -> None:
    before = town.dev.info["processes"]["api"]
    orders = [([town.free.pop(), town.free.pop()], uuid4().hex) for _ in range(8)]
    reserves = [town.pool.submit(town.reserve, seats, key) for seats, key in orders]
    wait(reserves, return_when=FIRST_COMPLETED)
    town.kill("api")
    assert any(not reserve.done() for reserve in reserves)
    bookings = [reserve.result() for reserve in reserves]
    town.wait_restarted("api", before)
    # Another repeat is the same booking: there is one for each key, and no other on its seats.
    again = [town.reserve(seats, key)["id"] for seats, key in orders]
    assert again == [booking["id"] for booking in bookings]
    assert len(set(again)) == len(orders)
    town.assert_ends(left=bookings)


def test_redis_flushed_while_seats_are_held(town: Town) -> None:
    bookings = town.hold(4)
    Redis.from_url(town.dev.info["redis_url"]).flushdb()
    rival = town.buyer.reserve(town.show, [bookings[0]["seats"][0]["label"]])
    assert rival.status_code == 409, rival.text
    town.pay(town.open_pages(bookings[:2]))
    town.assert_ends(paid=bookings[:2], left=bookings[2:])


@pytest.mark.parametrize("data", ["kept", "lost"])
def test_temporal_restarted_while_seats_are_held(town: Town, data: str) -> None:
    bookings = town.hold(6)
    # The last of these pages is left unpaid.
    payments = town.open_pages(bookings[:5])
    town.pay(payments[:2])
    before = town.dev.info["processes"]["temporal"]
    town.kill("temporal")
    if data == "lost":
        town.dev.lose_temporal_data()
    # Money that comes while nobody can be told.
    town.pay(payments[2:4])
    assert town.dev.info["processes"]["temporal"] == before, "it was back too soon"
    town.wait_restarted("temporal", before)
    wait_for(lambda: town.buyer.http.get("/readyz").status_code == 200)
    town.assert_ends(paid=bookings[:4], left=bookings[4:])
    # And it goes on as before.
    after = town.hold(1)
    town.pay(town.open_pages(after))
    town.assert_ends(paid=after)
