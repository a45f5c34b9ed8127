"""A running stack, a buyer with many bookings in it, and what has to be true in the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx2
import psutil
import psycopg

from seathold.demo import Buyer
from tests.stack.command import Dev, wait_for

HOLD_SECONDS = 6
SETTINGS = {
    "SEATHOLD_HOLD_SECONDS": str(HOLD_SECONDS),
    "SEATHOLD_HOLD_MAX_SECONDS": "12",
    "SEATHOLD_PAYMENT_GRACE_SECONDS": "3",
    "SEATHOLD_PAYMENT_SETTLING_GRACE_SECONDS": "3",
    "SEATHOLD_PAYMENT_RETRY_SECONDS": "1",
    "SEATHOLD_RATE_LIMIT_PER_MINUTE": "0",
    "SEATHOLD_REFUNDS_PER_SECOND": "2",
    "SEATHOLD_MAX_LIVE_HOLDS_PER_USER": "1000",
    "SEATHOLD_MAX_SEATS_PER_USER_SHOW": "1000",
}
OPEN = ("pending", "held", "expiring", "cancelling")
# A dead worker's task is given to another only after ten seconds; a lost booking is missed after
# its hold and five more.
SETTLE_SECONDS = 60
AGAIN = (202, 409, 429, 502, 503)

Json = dict[str, Any]


@dataclass
class Town:
    """``seathold dev`` with short holds; ``free`` are seats of ``show`` that nobody has had."""

    dev: Dev
    buyer: Buyer
    show: Json
    free: list[str]
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(16))

    def begin_reserves(self, count: int) -> list[Future[Json]]:
        """So many at once, each of two seats."""
        orders = [[self.free.pop(), self.free.pop()] for _ in range(count)]
        return [self.pool.submit(self.reserve, seats) for seats in orders]

    def hold(self, count: int) -> list[Json]:
        bookings = [reserve.result() for reserve in self.begin_reserves(count)]
        assert {booking["state"] for booking in bookings} == {"held"}
        return bookings

    def reserve(self, seats: list[str], key: str | None = None) -> Json:
        """As a client does it: the same key again until there is an answer."""
        body = {"show_id": self.show["id"], "seats": seats}
        key = key or uuid4().hex
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            answer = self._try("/api/booking/reserve", body, key)
            if answer is not None and answer.status_code == 201:
                booking: Json = answer.json()
                return booking
            if answer is not None and (
                answer.status_code not in AGAIN or "seats_unavailable" in answer.text
            ):
                raise AssertionError(f"reserve {seats}: {answer.status_code} {answer.text}")
            assert time.monotonic() < deadline, f"reserve {seats} had no answer"
            time.sleep(0.1)

    def open_pages(self, bookings: Sequence[Json]) -> list[Json]:
        return list(self.pool.map(self.buyer.checkout, bookings))

    def pay(self, payments: Sequence[Json]) -> None:
        list(self.pool.map(lambda payment: self.buyer.pay(payment, "captured"), payments))

    def kill(self, role: str) -> None:
        """``kill -9``; ``seathold dev`` starts it again."""
        found = self.dev.info["processes"][role]
        for pid in found if isinstance(found, list) else [found]:
            process = psutil.Process(pid)
            process.kill()
            process.wait(10)

    def wait_restarted(self, role: str, before: object) -> None:
        wait_for(lambda: self.dev.info["processes"][role] != before)

    def state(self, booking: Json) -> str:
        """As PostgreSQL has it, for the API may be the one that died."""
        with psycopg.connect(self.dev.info["database_url"]) as database:
            row = database.execute(
                "SELECT state FROM bookings WHERE id = %s", (booking["id"],)
            ).fetchone()
        assert row is not None, f"booking {booking['id']} is gone"
        return str(row[0])

    def assert_ends(self, *, paid: Sequence[Json] = (), left: Sequence[Json] = ()) -> None:
        """The paid are confirmed, the others expired; seats, money and every invariant agree."""
        everyone = [*paid, *left]
        wait_for(lambda: all(self.state(one) not in OPEN for one in everyone), SETTLE_SECONDS)
        assert {one["id"]: self.state(one) for one in everyone} == {
            **{one["id"]: "confirmed" for one in paid},
            **{one["id"]: "expired" for one in left},
        }
        self._assert_money({one["id"]: one["total"]["amount"] for one in paid})
        wait_for(lambda: self._seats_are_right(paid, left))
        self._assert_checked()

    def _seats_are_right(self, paid: Sequence[Json], left: Sequence[Json]) -> bool:
        path = f"/api/show/{self.show['id']}/availability"
        answer = self.buyer.http.get(path)
        if answer.status_code != 200:
            return False
        taken = answer.json()["seats"]
        sold = all(taken.get(label) == "sold" for label in labels(paid))
        return sold and not any(label in taken for label in labels(left))

    def _assert_money(self, expected: dict[str, int]) -> None:
        """By the provider's own ledger: what is kept, for every booking it ever heard of."""
        kept: dict[str, int] = {}
        for payment in self.buyer.sandbox.get("/test/ledger").json()["payments"]:
            amount = payment["captured"] - payment["refunded"]
            kept[payment["reference"]] = kept.get(payment["reference"], 0) + amount
        assert {one: kept.get(one) for one in expected} == expected
        for reference, amount in kept.items():
            if self.state({"id": reference}) != "confirmed":
                assert amount == 0, f"{amount} kept of {reference}, which was not confirmed"

    def _assert_checked(self) -> None:
        checked = self.dev.check(SETTINGS)
        assert checked.returncode == 0, checked.stdout + checked.stderr

    def _try(self, path: str, body: Json, key: str) -> httpx2.Response | None:
        """None when the connection broke: the outcome is unknown."""
        try:
            return self.buyer.http.post(path, json=body, headers={"Idempotency-Key": key})
        except httpx2.TransportError:
            return None


def labels(bookings: Sequence[Json]) -> list[str]:
    return [seat["label"] for booking in bookings for seat in booking["seats"]]
