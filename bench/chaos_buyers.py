"""Buyers while servers die: they ask again as a client should, and remember what they were told."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx2

Json = dict[str, Any]
# Longer than the longest fault.
PATIENCE_SECONDS = 40
REST_SECONDS = 0.3
SETTLED_WITHIN_SECONDS = 20
LATE_SECONDS = (9.0, 12.0)
PAGE_CLOSES_SECONDS = 8.0
ASK_AGAIN = (503, 429)
REFUSED = ("seats_unavailable", "limit_reached")


@dataclass
class Told:
    """What the buyers of a round were told; ``complaints`` is what nobody may ever be told."""

    answers: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    complaints: list[str] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    confirmed: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)


class Buyer:
    """One who buys again and again, each time in another way."""

    def __init__(
        self,
        api: httpx2.AsyncClient,
        sandbox: httpx2.AsyncClient,
        token: str,
        chance: random.Random,
        told: Told,
    ) -> None:
        self._api = api
        self._sandbox = sandbox
        self._headers = {"Authorization": f"Bearer {token}"}
        self._told = told
        self.chance = chance

    async def buy_until(self, end: float, show_id: str, labels: list[str]) -> None:
        while time.monotonic() < end:
            seats = self.chance.sample(labels, self.chance.randint(1, 3))
            booking = await self._reserve({"show_id": show_id, "seats": seats})
            if booking is not None:
                await self.chance.choice(WAYS)(self, booking["id"])

    async def _reserve(self, wish: Json) -> Json | None:
        """The booking, if the seats are held in the end."""
        key = uuid4().hex
        answer = await self.ask("POST", "/api/booking/reserve", wish, key=key)
        if answer is None:
            return None
        if answer.status_code == 409 and answer.json()["code"] in REFUSED:
            await asyncio.sleep(REST_SECONDS)
            return None
        booking: Json = answer.json()
        if answer.status_code == 202:
            return await self._until_held(booking["id"])
        if answer.status_code != 201:
            self._complain("a reserve", answer)
            return None
        self._told.held.add(booking["id"])
        if self.chance.random() < 0.2:
            again = await self.ask("POST", "/api/booking/reserve", wish, key=key)
            if again is not None and again.json().get("id") != booking["id"]:
                self._complain(f"a repeat of {booking['id']}", again)
        return booking

    async def _until_held(self, booking_id: str) -> Json | None:
        end = time.monotonic() + SETTLED_WITHIN_SECONDS
        while time.monotonic() < end:
            await asyncio.sleep(REST_SECONDS)
            answer = await self.ask("GET", f"/api/booking/{booking_id}")
            if answer is None:
                return None
            if answer.status_code != 200:
                self._complain(f"a look at {booking_id}, which is pending", answer)
                return None
            if answer.json()["state"] != "pending":
                return dict(answer.json()) if answer.json()["state"] == "held" else None
        return None

    async def command(self, booking_id: str, name: str) -> httpx2.Response | None:
        return await self.ask("POST", f"/api/booking/{booking_id}/{name}", {})

    async def cancel(self, booking_id: str) -> None:
        answer = await self.command(booking_id, "cancel")
        if answer is not None and answer.is_success and answer.json()["state"] == "cancelled":
            self._told.cancelled.add(booking_id)

    async def confirm(self, booking_id: str) -> bool:
        wish = {"booking_id": booking_id}
        answer = await self.ask("POST", "/api/booking/confirm?wait=10", wish)
        is_confirmed = answer is not None and answer.status_code == 200
        if is_confirmed:
            self._told.confirmed.add(booking_id)
        return is_confirmed

    async def give_back(self, booking_id: str) -> None:
        """Ask for a refund of all of it; whatever comes of that, it need not stay confirmed."""
        self._told.confirmed.discard(booking_id)
        path = f"/api/booking/{booking_id}/refund"
        answer = await self.ask("POST", path, {}, key=uuid4().hex)
        if answer is not None and answer.status_code != 202:
            self._complain(f"a refund of {booking_id}", answer)

    async def open_page(self, booking_id: str) -> str | None:
        """The session of its pay page; None when the hold is over."""
        path = f"/api/booking/{booking_id}/checkout"
        answer = await self.ask("POST", path, {"provider": "sandbox"})
        if answer is None or answer.status_code in (409, 410):
            return None
        if not answer.is_success:
            self._complain(f"a checkout of {booking_id}", answer)
            return None
        return str(answer.json()["payment"]["session_id"])

    async def pay(self, session_id: str, outcome: str, **act: Any) -> None:
        """On the page, which is the provider's own: again until it is there."""
        end = time.monotonic() + PATIENCE_SECONDS
        path, act = f"/test/sessions/{session_id}/pay", {"outcome": outcome, **act}
        while time.monotonic() < end:
            try:
                if (await self._sandbox.post(path, json=act)).status_code < 500:
                    return
            except httpx2.TransportError:
                pass
            await asyncio.sleep(REST_SECONDS)

    async def ask(
        self, method: str, path: str, body: Json | None = None, key: str = ""
    ) -> httpx2.Response | None:
        """Again until there is an answer that is one; None when there was none for too long."""
        end = time.monotonic() + PATIENCE_SECONDS
        headers = {**self._headers, **({"Idempotency-Key": key} if key else {})}
        while time.monotonic() < end:
            try:
                answer = await self._api.request(method, path, json=body, headers=headers)
            except httpx2.TransportError:
                self._told.unanswered += 1
            else:
                self._told.answers[answer.status_code] += 1
                if not _is_to_be_repeated(answer):
                    if answer.status_code >= 500:
                        self._complain(f"{method} {path}", answer)
                    return answer
            await asyncio.sleep(REST_SECONDS * (1 + self.chance.random()))
        return None

    def _complain(self, asked: str, answer: httpx2.Response) -> None:
        self._told.complaints.append(f"{asked}: {answer.status_code} {answer.text[:300]}")


def _is_to_be_repeated(answer: httpx2.Response) -> bool:
    """It says when; an answer that does not is a complaint."""
    if "retry-after" not in answer.headers:
        return False
    in_hand = answer.status_code == 409 and answer.json()["code"] == "request_in_progress"
    return answer.status_code in ASK_AGAIN or in_hand


async def _leave(buyer: Buyer, booking_id: str) -> None:
    """The hold lapses."""


async def _extend(buyer: Buyer, booking_id: str) -> None:
    await buyer.command(booking_id, "extend")


async def _cancel(buyer: Buyer, booking_id: str) -> None:
    await buyer.cancel(booking_id)


async def _pay(buyer: Buyer, booking_id: str) -> None:
    session_id = await buyer.open_page(booking_id)
    if session_id is not None:
        copies = buyer.chance.choice((1, 1, 3))
        delivery = {"copies": copies, "shuffle": copies > 1}
        await buyer.pay(session_id, "captured", webhooks=delivery)
        await buyer.confirm(booking_id)


async def _pay_and_give_back(buyer: Buyer, booking_id: str) -> None:
    session_id = await buyer.open_page(booking_id)
    if session_id is not None:
        await buyer.pay(session_id, "captured")
        if await buyer.confirm(booking_id):
            await buyer.give_back(booking_id)


async def _pay_slowly(buyer: Buyer, booking_id: str) -> None:
    session_id = await buyer.open_page(booking_id)
    if session_id is not None:
        await asyncio.sleep(buyer.chance.uniform(0, PAGE_CLOSES_SECONDS))
        await buyer.pay(session_id, "captured")
        await buyer.confirm(booking_id)


async def _pay_twice(buyer: Buyer, booking_id: str) -> None:
    session_id = await buyer.open_page(booking_id)
    if session_id is not None:
        for _ in range(2):
            await buyer.pay(session_id, "captured", force=True)


async def _pay_late(buyer: Buyer, booking_id: str) -> None:
    session_id = await buyer.open_page(booking_id)
    if session_id is not None:
        await asyncio.sleep(buyer.chance.uniform(*LATE_SECONDS))
        await buyer.pay(session_id, "captured", force=True)


async def _fail(buyer: Buyer, booking_id: str) -> None:
    """A card that is refused; now and then another one is taken."""
    session_id = await buyer.open_page(booking_id)
    if session_id is not None:
        await buyer.pay(session_id, "failed")
        if buyer.chance.random() < 0.5:
            await _pay(buyer, booking_id)


async def _cancel_while_paying(buyer: Buyer, booking_id: str) -> None:
    session_id = await buyer.open_page(booking_id)
    if session_id is not None:
        await asyncio.gather(buyer.cancel(booking_id), buyer.pay(session_id, "captured"))


WAYS: tuple[Callable[[Buyer, str], Awaitable[None]], ...] = (
    _pay,
    _pay,
    _pay,
    _pay_and_give_back,
    _pay_slowly,
    _pay_twice,
    _pay_late,
    _fail,
    _leave,
    _extend,
    _cancel,
    _cancel_while_paying,
)
