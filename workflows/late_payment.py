"""Money that buys no seat: send it back under a fixed key until the provider has settled it."""

from __future__ import annotations

from temporalio import workflow

from contracts.late_payment import LatePaymentContract, RefundActivities
from domain.steps import LatePaymentInput, LatePaymentResult
from workflows import policies


@workflow.defn(name="LatePayment")
class LatePaymentWorkflow(LatePaymentContract):
    @workflow.run
    async def run(self, input: LatePaymentInput) -> LatePaymentResult:
        workflow.set_current_details("Sending the money back.")
        result: LatePaymentResult = await workflow.execute_activity_method(
            RefundActivities.send_refund, input, summary="refund whole", **policies.REFUND
        )
        workflow.set_current_details(f"Refund: {result.outcome}.")
        return result
