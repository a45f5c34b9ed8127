"""Stripe with too little of our money: a refusal is kept for its key, the refund is not lost."""

from __future__ import annotations

import httpx2
import pytest

from domain.errors import BalanceTooLow
from domain.money import Money
from infra.gateways.stripe import StripeGateway
from infra.gateways.stripe_answers import REFUND_KEY
from tests.helpers.stripe_town import KEY, refusal

PRICE = Money(2400, "EUR")


class LowBalance:
    """Stripe with too little of our money: it repeats each refusal to its key, as it does."""

    def __init__(self) -> None:
        self.is_short, self.refunds = True, 0
        self.answers: dict[str, httpx2.Response] = {}

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            return httpx2.Response(200, json=self._read(request.url.path))
        key = request.headers["idempotency-key"]
        is_replay = key in self.answers
        if not is_replay and self.is_short:
            self.answers[key] = refusal(400, {"code": "balance_insufficient"})
        elif not is_replay:
            self.refunds += 1
            self.answers[key] = httpx2.Response(200, json=REFUND)
        kept = self.answers[key]
        headers = {
            "content-type": "application/json",
            "idempotent-replayed": str(is_replay).lower(),
        }
        return httpx2.Response(kept.status_code, content=kept.content, headers=headers)

    def _read(self, path: str) -> dict[str, object]:
        if path.endswith("/refunds"):
            return {"object": "list", "has_more": False, "data": [REFUND] * self.refunds}
        return REFUND if "/refunds/" in path else INTENT


INTENT = {
    "id": "pi_1", "object": "payment_intent", "status": "succeeded", "amount": 2400,
    "amount_received": 2400, "currency": "eur", "latest_charge": None,
    "last_payment_error": None, "metadata": {},
}  # fmt: skip
REFUND = {
    "id": "re_1", "object": "refund", "amount": 2400, "currency": "eur", "payment_intent": "pi_1",
    "status": "succeeded", "metadata": {REFUND_KEY: "back"},
}  # fmt: skip


async def test_a_refusal_that_stripe_repeats_to_its_key_does_not_keep_the_refund_back() -> None:
    bank = LowBalance()
    gateway = StripeGateway(KEY, transport=httpx2.MockTransport(bank))
    for _ in range(3):
        with pytest.raises(BalanceTooLow):
            await gateway.refund("pi_1", key="back", amount=PRICE)
    assert list(bank.answers) == ["back", "back:again:1", "back:again:2"]
    bank.is_short = False
    for _ in range(2):
        assert (await gateway.refund("pi_1", key="back", amount=PRICE)).status == "succeeded"
    assert bank.refunds == 1
