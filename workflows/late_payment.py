"""Money that buys no seat: send it back under a fixed key until the provider has settled it."""

from __future__ import annotations

from temporalio import workflow

from contracts.late_payment import LatePaymentContract, RefundActivities
from domain.steps import LatePaymentInput, LatePaymentResult
from workflows import policies
from workflows.refund_retries import until_ended


@workflow.defn(name="LatePayment")
class LatePaymentWorkflow(LatePaymentContract):
    @workflow.run
    async def run(self, input: LatePaymentInput) -> LatePaymentResult:
        workflow.set_current_details("Sending the money back.")

        async def send() -> LatePaymentResult:
            sent: LatePaymentResult = await workflow.execute_activity_method(
                RefundActivities.send_refund, input, summary="refund whole", **policies.REFUND
            )
            return sent

        result = await until_ended(await send(), send)
        workflow.set_current_details(f"Refund: {result.outcome}.")
        return result
