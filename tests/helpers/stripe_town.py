"""Stripe with a memory: stripe-mock judges each request and gives the documented shape of the
answer; over it is laid what was opened, paid and refunded here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import httpx2
import orjson

from infra.gateways.stripe import API_VERSION
from tests.helpers.stripe_mock import running_stripe_mock

KEY = "sk_test_townTownTown"
Json = dict[str, Any]

INTENT = {
    "captured": "succeeded",
    "authorised": "requires_capture",
    "processing": "processing",
    "failed": "requires_payment_method",
}

# What can be listed, and where the town keeps it.
LISTS = {name: name for name in ("sessions", "refunds", "disputes", "events")} | {
    "payment_intents": "intents"
}


class Refused(Exception):
    def __init__(self, status: int, message: str, **error: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"type": "invalid_request_error", "message": message, **error}


@dataclass
class StripeTown(httpx2.AsyncBaseTransport):
    """The transport of a gateway whose base URL is ``mock_url``, and the acts of the tests."""

    mock_url: str
    mock: httpx2.AsyncBaseTransport = field(default_factory=httpx2.AsyncHTTPTransport)
    requests: list[httpx2.Request] = field(default_factory=list)
    faults: Json = field(default_factory=dict)
    sessions: dict[str, Json] = field(default_factory=dict)
    intents: dict[str, Json] = field(default_factory=dict)
    refunds: dict[str, Json] = field(default_factory=dict)
    disputes: dict[str, Json] = field(default_factory=dict)
    events: dict[str, Json] = field(default_factory=dict)
    keys: dict[str, tuple[tuple[str, bytes], Json]] = field(default_factory=dict)

    def configure(self, **faults: Any) -> None:
        self.faults |= faults

    def pay(
        self,
        session: Json,
        outcome: str = "captured",
        *,
        amount: int | None = None,
        currency: str | None = None,
        force: bool = False,
    ) -> str:
        """Pay as a buyer; the PaymentIntent's id."""
        page = self.sessions[session["id"]]
        assert force or page["status"] == "open"
        paid = page["amount_total"] if amount is None else amount
        charge = {
            "id": f"ch_{uuid4().hex}",
            "status": {"failed": "failed", "processing": "pending"}.get(outcome, "succeeded"),
            "amount_captured": paid if outcome == "captured" else 0,
            "amount_refunded": 0,
            "disputed": False,
        }
        intent = {
            "id": f"pi_{uuid4().hex}",
            "created": int(time.time()),
            "status": INTENT[outcome],
            "amount": paid,
            "currency": (currency or page["currency"]).lower(),
            "metadata": page["metadata"],
            "latest_charge": charge,
            "last_payment_error": {"type": "card_error"} if outcome == "failed" else None,
        }
        self._book(intent)
        self.intents[intent["id"]] = intent
        page["payment_intent"] = intent["id"]
        if outcome != "failed":
            page |= {"status": "complete", "url": None}
            page["payment_status"] = "paid" if outcome == "captured" else "unpaid"
        return str(intent["id"])

    def _book(self, intent: Json) -> None:
        """A captured charge is booked on our balance, with what Stripe keeps of it."""
        charge = intent["latest_charge"]
        if taken := charge["amount_captured"]:
            fee = min(taken, taken * 15 // 1000 + 25)
            booked = {"id": f"txn_{uuid4().hex}", "fee": fee, "currency": intent["currency"]}
            charge["balance_transaction"] = booked

    def dispute(self, payment: str, outcome: str = "opened", *, amount: int | None = None) -> None:
        """The buyer's bank calls the money back; ``outcome`` may be any status of Stripe's too."""
        intent = self.intents[payment]
        intent["latest_charge"]["disputed"] = True
        known = self.disputes.setdefault(
            payment,
            {
                "id": f"du_{uuid4().hex}",
                "payment_intent": payment,
                "created": int(time.time()),
                "amount": amount or intent["latest_charge"]["amount_captured"],
                "currency": intent["currency"],
            },
        )
        known["status"] = "needs_response" if outcome == "opened" else outcome

    def fail_refund(self, id_: str) -> None:
        """The buyer's bank sends it back; that is in no list but the one of events."""
        refund = self.refunds[id_]
        refund["status"] = "failed"
        self.intents[refund["payment_intent"]]["latest_charge"]["amount_refunded"] -= refund[
            "amount"
        ]
        self._tell("refund.failed", refund)

    def _tell(self, type: str, thing: Json) -> None:
        id_ = f"evt_{uuid4().hex}"
        told = {"id": id_, "type": type, "created": int(time.time()), "data": {"object": thing}}
        self.events[id_] = told

    def others_have(self, change: str) -> None:
        """A change of what was charged without a PaymentIntent, as older shops do.

        Or of one that was deleted with the rest of the test data.
        """
        if change == "came_back":
            self._tell("refund.failed", {"object": "refund", "payment_intent": None})
            self._tell("refund.failed", {"object": "refund", "payment_intent": "pi_deleted"})
            return
        things = self.disputes if change == "disputed" else self.refunds
        id_ = f"old_{uuid4().hex}"
        things[id_] = {"id": id_, "payment_intent": None, "created": int(time.time())}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        if hang_ms := self.faults.get("hang_ms"):
            await asyncio.sleep(hang_ms / 1000)  # the behaviour under test, not a wait
        fault = self._fault(request.url.path)
        late = self.faults.get("fail_after_effect")
        if fault is not None and not late:
            return fault
        answer = await self._answer(request)
        return fault if fault is not None and request.method == "POST" else answer

    async def aclose(self) -> None:
        """The tests share it; :meth:`close` ends it."""

    async def close(self) -> None:
        await self.mock.aclose()

    def _fault(self, path: str) -> httpx2.Response | None:
        if self.faults.get("error_rate"):
            return refusal(500, {"type": "api_error", "message": "sorry"})
        if path == self.faults.get("forbids"):
            return refusal(403, {"type": "invalid_request_error", "message": "rk_… may not"})
        match self.faults.get("respond"):
            case "html":
                return httpx2.Response(200, html="<h1>sorry</h1>")
            case "redirect":
                return httpx2.Response(307, headers={"location": "http://elsewhere.test/"})
            case "400":
                return refusal(400, {"type": "invalid_request_error", "message": "no"})
            case "429":
                return refusal(429, {"type": "invalid_request_error", "code": "rate_limit"})
        return None

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        assert request.headers["stripe-version"] == API_VERSION
        if request.headers["authorization"] != f"Bearer {KEY}":
            return refusal(401, {"type": "invalid_request_error", "message": "Invalid API Key"})
        judged = await self.mock.handle_async_request(request)
        shape = orjson.loads(await judged.aread())
        await judged.aclose()
        if judged.status_code != 200:
            return httpx2.Response(judged.status_code, json=shape)
        key = request.headers.get("idempotency-key")
        asked = (request.url.path, request.content)
        headers = {}
        try:
            if key in self.keys:
                first, answer = self.keys[key]
                if first != asked:
                    raise Refused(400, "Keys for idempotent requests", type="idempotency_error")
                headers["idempotent-replayed"] = "true"
            else:
                answer = merged(shape, self._act(request))
                if key is not None:
                    self.keys[key] = (asked, answer)
        except Refused as refused:
            return refusal(refused.status, refused.error)
        return httpx2.Response(200, json=answer, headers=headers)

    def _act(self, request: httpx2.Request) -> Json:
        wish = dict(parse_qsl(request.content.decode() or request.url.query.decode()))
        expand = "payment_intent.latest_charge.balance_transaction" in wish.values()
        match (request.method, *request.url.path.split("/")[2:]):
            case ("POST", "checkout", "sessions"):
                return self._open(wish)
            case ("GET", *path) if path[-1] in LISTS:
                return self._list(path[-1], wish)
            case ("GET", "checkout", "sessions", id_):
                return self._page(id_, expand)
            case ("POST", "checkout", "sessions", id_, "expire"):
                page = known(self.sessions, id_)
                if page["status"] != "open":
                    raise Refused(400, 'Only Checkout Sessions with a status in ["open"]')
                page |= {"status": "expired", "url": None}
                return self._page(id_, expand)
            case ("GET", "payment_intents" | "refunds" as kind, id_):
                return known({"payment_intents": self.intents, "refunds": self.refunds}[kind], id_)
            case ("POST", "payment_intents", id_, how):
                return self._end(known(self.intents, id_), how)
            case ("POST", "refunds"):
                return self._refund(wish)
        raise AssertionError(f"the town has no {request.method} {request.url.path}")

    def _open(self, wish: dict[str, str]) -> Json:
        if int(wish["expires_at"]) < time.time() + 1800:
            raise Refused(400, "must be at least 30 minutes from now", param="expires_at")
        id_ = f"cs_test_{uuid4().hex}"
        self.sessions[id_] = {
            "id": id_,
            "status": "open",
            "payment_status": "unpaid",
            "amount_total": int(wish["line_items[0][price_data][unit_amount]"]),
            "currency": wish["line_items[0][price_data][currency]"],
            "client_reference_id": wish["client_reference_id"],
            "metadata": {"booking_id": wish["payment_intent_data[metadata][booking_id]"]},
            "url": f"https://checkout.stripe.com/c/pay/{id_}",
            "expires_at": int(wish["expires_at"]),
            "payment_intent": None,
        }
        return dict(self.sessions[id_])

    def _page(self, id_: str, expand: bool) -> Json:
        page = dict(known(self.sessions, id_))
        if expand and page["payment_intent"] is not None:
            page["payment_intent"] = self.intents[page["payment_intent"]]
        return page

    def _end(self, intent: Json, how: str) -> Json:
        return self._capture(intent) if how == "capture" else self._cancel(intent)

    def _capture(self, intent: Json) -> Json:
        if intent["status"] != "requires_capture":
            raise Refused(400, "You cannot capture it", code="payment_intent_unexpected_state")
        if self.faults.get("capture_outcome") == "declined":
            raise Refused(402, "Your card was declined.", type="card_error", code="card_declined")
        intent["status"] = "succeeded"
        intent["latest_charge"]["amount_captured"] = intent["amount"]
        self._book(intent)
        return intent

    def _cancel(self, intent: Json) -> Json:
        if intent["status"] in ("succeeded", "canceled", "processing"):
            raise Refused(400, "You cannot cancel it", code="payment_intent_unexpected_state")
        intent["status"] = "canceled"
        return intent

    def _refund(self, wish: dict[str, str]) -> Json:
        intent = known(self.intents, wish["payment_intent"])
        charge, amount = intent["latest_charge"], int(wish["amount"])
        if charge["amount_refunded"] + amount > charge["amount_captured"]:
            raise Refused(400, "Refund amount is greater than charge amount", param="amount")
        status = self.faults.get("refund_outcome") or "succeeded"
        if status == "succeeded":
            charge["amount_refunded"] += amount
        id_ = f"re_{uuid4().hex}"
        self.refunds[id_] = {
            "id": id_,
            "payment_intent": intent["id"],
            "created": int(time.time()),
            "amount": amount,
            "currency": intent["currency"],
            "status": status,
            "metadata": {"refund_key": wish["metadata[refund_key]"]},
        }
        return dict(self.refunds[id_])

    def _list(self, what: str, wish: dict[str, str]) -> Json:
        """Newest first; two things to a page, so that a longer list must be paged through."""
        things = getattr(self, LISTS[what])
        if "created[gte]" in wish:
            since = int(wish["created[gte]"])
            made = [
                one
                for one in things.values()
                if one["created"] >= since and one.get("type") == wish.get("type")
            ][::-1]
            last = wish.get("starting_after")
            after = [one["id"] for one in made].index(last) + 1 if last else 0
            page = made[after : after + 2]
            if any(value.startswith("data.payment_intent.") for value in wish.values()):
                known_by = [self.intents.get(one["payment_intent"]) for one in page]
                page = [
                    one | {"payment_intent": it} for one, it in zip(page, known_by, strict=True)
                ]
            return {"data": page, "has_more": len(made) > after + 2}
        if what == "refunds":
            known(self.intents, wish["payment_intent"])
        found = [one for one in things.values() if one["payment_intent"] == wish["payment_intent"]]
        return {"data": found[::-1], "has_more": False}


@asynccontextmanager
async def running_town(folder: Path) -> AsyncIterator[StripeTown]:
    with running_stripe_mock(folder) as url:
        town = StripeTown(url)
        yield town
        await town.close()


def known(things: dict[str, Json], id_: str) -> Json:
    if id_ not in things:
        raise Refused(404, f"No such thing: '{id_}'", code="resource_missing")
    return things[id_]


def merged(shape: Json, state: Json) -> Json:
    """``state`` laid over ``shape``, also inside."""
    deeper = {
        name: merged(shape[name], value)
        for name, value in state.items()
        if isinstance(value, dict) and isinstance(shape.get(name), dict)
    }
    return {**shape, **state, **deeper}


def refusal(status: int, error: Json) -> httpx2.Response:
    return httpx2.Response(status, json={"error": error})
