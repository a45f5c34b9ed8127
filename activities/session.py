"""Steps that ask the payment provider: close a pay page, send money back."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import structlog
from temporalio import activity

from activities.edge import edge
from contracts.booking import SessionActivities
from contracts.late_payment import RefundActivities
from domain.steps import LatePaymentInput, LatePaymentResult, SessionOutcome, SessionStep
from services import provider
from services.gateway import PaymentGateway
from services.ports import UnitOfWork

log = structlog.get_logger(__name__)


class GatewayActivities(SessionActivities, RefundActivities):
    """``gateways`` by provider name."""

    def __init__(self, unit_of_work: UnitOfWork, gateways: Mapping[str, PaymentGateway]) -> None:
        self._begin = unit_of_work
        self._gateways = gateways

    @activity.defn
    async def close_session(self, step: SessionStep) -> SessionOutcome:
        async with edge(step.booking_id, step.request_id):
            found = await provider.close_sessions(
                self._begin, self._gateways, UUID(step.booking_id), request_id=step.request_id
            )
            log.info("close_session", closed=found.closed, captured=len(found.captured))
            captured = [str(one) for one in found.captured]
            return SessionOutcome(found.closed, captured, found.is_settling)

    @activity.defn
    async def send_refund(self, input: LatePaymentInput) -> LatePaymentResult:
        async with edge("", input.request_id):
            outcome = await provider.send_refund(
                self._begin,
                self._gateways,
                UUID(input.provider_payment_id),
                request_id=input.request_id,
            )
            log.info("refund", outcome=outcome, provider_payment_id=input.provider_payment_id)
            return LatePaymentResult(outcome)
