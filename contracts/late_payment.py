"""Money that buys no seat goes back: one workflow for each such payment."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from temporalio import activity, workflow


def late_payment_workflow_id(provider_payment_id: str) -> str:
    return f"late-payment-{provider_payment_id}"


@dataclass(frozen=True)
class LatePaymentInput:
    provider_payment_id: str
    request_id: str | None = None


@dataclass(frozen=True)
class LatePaymentResult:
    """``nothing_due``: no refund was decided for it; else how the refund ended."""

    outcome: str


@workflow.defn(name="LatePayment")
class LatePaymentContract(ABC):
    """Send a refund that was decided in PostgreSQL, and see it settled."""

    @workflow.run
    @abstractmethod
    async def run(self, input: LatePaymentInput) -> LatePaymentResult: ...


class RefundActivities(ABC):
    @activity.defn
    @abstractmethod
    async def send_refund(self, input: LatePaymentInput) -> LatePaymentResult:
        """Refund at the provider under a fixed key, then record what it said."""
        ...
