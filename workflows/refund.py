"""A refund that somebody asked for: reserved before it starts, sent, settled, or withdrawn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio import workflow
from temporalio.exceptions import FailureError

from contracts.refund import RefundContract, RefundSteps
from domain.steps import RefundInput, RefundResult
from workflows import policies
from workflows.refund_retries import until_ended
from workflows.undo import UndoStack, to_the_end

STORIES = {
    "succeeded": "The money is back with the buyer.",
    "failed": "The refund failed; the booking says what became of the seats.",
}


@workflow.defn(name="Refund")
class RefundWorkflow(RefundContract):
    """The rows were written with the request; this workflow sees that they come true."""

    @workflow.run
    async def run(self, input: RefundInput) -> RefundResult:
        undo = UndoStack()
        undo.register(lambda: _durably(RefundSteps.withdraw_refund, input))
        workflow.set_current_details("Asking the payment provider to send the money back.")
        try:
            await to_the_end(self._ask(input))
            workflow.set_current_details("The provider has accepted; waiting for it to settle.")
        except FailureError:
            workflow.set_current_details("The provider refuses; what it did not accept ends here.")
            await to_the_end(undo.run())
        undo.forget()
        result = await to_the_end(self._finish(input))
        workflow.set_current_details(STORIES[result.outcome])
        return result

    async def _ask(self, input: RefundInput) -> None:
        await workflow.execute_activity_method(
            RefundSteps.ask_refund, input, summary="ask the provider", **policies.REFUND
        )

    async def _finish(self, input: RefundInput) -> RefundResult:
        """Settle, and tell Redis meanwhile: neither waits for the other to be there."""
        marks = asyncio.create_task(_durably(RefundSteps.release_refunded, input))

        async def send_again() -> RefundResult:
            await self._ask(input)
            return await self._settle(input)

        result = await until_ended(await self._settle(input), send_again)
        await marks
        return result

    async def _settle(self, input: RefundInput) -> RefundResult:
        result: RefundResult = await workflow.execute_activity_method(
            RefundSteps.settle_refund, input, summary="see it settled", **policies.REFUND
        )
        return result


async def _durably(step: Callable[..., Awaitable[Any]], input: RefundInput) -> Any:
    return await workflow.execute_activity_method(step, input, **policies.DURABLE_STEP)
