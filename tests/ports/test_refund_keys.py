"""A refund reaches its provider under our key, so that a lost answer cannot pay it twice."""

from __future__ import annotations

import httpx2

from domain.money import Money
from infra.gateways.stripe import StripeGateway
from tests.helpers.stripe_town import KEY

INTENT = {
    "id": "pi_1",
    "object": "payment_intent",
    "status": "succeeded",
    "amount": 2400,
    "currency": "eur",
    "latest_charge": None,
    "last_payment_error": None,
    "metadata": {},
}
REFUND = {
    "id": "re_1",
    "object": "refund",
    "payment_intent": "pi_1",
    "amount": 1200,
    "currency": "eur",
    "status": "succeeded",
}


async def test_stripe_is_given_the_refunds_key() -> None:
    sent: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/refunds") and request.method == "GET":
            return httpx2.Response(200, json={"object": "list", "has_more": False, "data": []})
        if request.method == "GET":
            return httpx2.Response(200, json=REFUND if "/refunds/" in request.url.path else INTENT)
        sent.append(request.headers["idempotency-key"])
        return httpx2.Response(200, json=REFUND)

    gateway = StripeGateway(KEY, transport=httpx2.MockTransport(answer))
    for _ in range(2):
        await gateway.refund("pi_1", key="refund:one", amount=Money(1200, "EUR"))
    assert sent == ["refund:one"] * 2
    await gateway.aclose()
