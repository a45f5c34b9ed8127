"""Steps that take authorised money once the seats are final for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import structlog
from temporalio import activity

from activities.edge import edge
from contracts.booking import CaptureActivities
from domain.steps import CaptureStep, StepOutcome
from services import authorise, capture
from services.gateway import PaymentGateway
from services.ports import UnitOfWork

log = structlog.get_logger(__name__)


class GatewayCaptureActivities(CaptureActivities):
    """``gateways`` by provider name."""

    def __init__(self, unit_of_work: UnitOfWork, gateways: Mapping[str, PaymentGateway]) -> None:
        self._begin = unit_of_work
        self._gateways = gateways

    @property
    def steps(self) -> list[Callable[..., Any]]:
        """What a worker registers."""
        return [self.capture_payment, self.abandon_capture]

    @activity.defn
    async def capture_payment(self, step: CaptureStep) -> bool:
        async with edge(step.booking_id, step.request_id):
            taken = await capture.capture(
                self._begin,
                self._gateways,
                UUID(step.booking_id),
                UUID(step.provider_payment_id),
                tries=activity.info().attempt,
                request_id=step.request_id,
            )
            log.info("capture", taken=taken)
            return taken

    @activity.defn
    async def abandon_capture(self, step: CaptureStep) -> StepOutcome:
        async with edge(step.booking_id, step.request_id):
            async with self._begin() as tx:
                outcome = await authorise.abandon(
                    tx,
                    UUID(step.booking_id),
                    UUID(step.provider_payment_id),
                    request_id=step.request_id,
                )
            log.warning("capture_abandoned", state=outcome.state)
            return outcome
