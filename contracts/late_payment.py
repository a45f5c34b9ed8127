"""Money that buys no seat goes back: one workflow for each such payment."""

from __future__ import annotations

from abc import ABC, abstractmethod

from temporalio import activity, workflow

from domain.steps import LatePaymentInput, LatePaymentResult


def late_payment_workflow_id(provider_payment_id: str) -> str:
    return f"late-payment-{provider_payment_id}"


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
