"""Signs what partners are told, as Standard Webhooks says, and sends it to where they listen."""

from __future__ import annotations

from datetime import UTC, datetime

from standardwebhooks import Webhook

from domain.errors import Invalid
from infra.outbound import Outbound, Unanswered
from infra.sealing import SealRing, Unopenable
from services.partner import place_of
from services.partner_delivery import Taken, Tried

AGENT = "Seathold-Webhooks/1"


class SignedSender:
    """See ``services.partner_delivery.Sender``. Each try is signed anew, with every live secret."""

    def __init__(self, ring: SealRing, outbound: Outbound) -> None:
        self._ring = ring
        self._outbound = outbound

    async def aclose(self) -> None:
        await self._outbound.aclose()

    async def send(self, taken: Taken) -> Tried:
        try:
            headers = self._headers(taken, datetime.now(UTC))
            answer = await self._outbound.post(taken.url, headers, taken.body.encode())
        except Unopenable:
            return Tried(None, "our key ring does not open the endpoint's secret")
        except Invalid as refused:
            return Tried(None, f"{refused.code}: {refused.detail}")
        except Unanswered as error:
            return Tried(None, str(error))
        return Tried(answer.status, None, answer.retry_after)

    def _headers(self, taken: Taken, now: datetime) -> dict[str, str]:
        place = place_of(taken.endpoint_id)
        keys = [self._ring.open(sealed, place) for sealed in taken.secrets]
        signatures = [Webhook(key).sign(taken.webhook_id, now, taken.body) for key in keys]
        return {
            "Content-Type": "application/json",
            "User-Agent": AGENT,
            "webhook-id": taken.webhook_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
