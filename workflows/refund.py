"""A refund that somebody asked for: reserved before it starts, sent, settled, or withdrawn."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

from contracts.refund import INSUFFICIENT_BALANCE, RefundContract, RefundSteps
from domain.steps import RefundInput, RefundResult
from workflows import policies
from workflows.refund_retries import until_ended
from workflows.steps import durably
from workflows.undo import UndoStack, to_the_end

# A balance is topped up by people: a minute first, an hour between tries at most.
FIRST_WAIT_SECONDS = 60.0
LONGEST_WAIT_SECONDS = 3600.0

STORIES = {
    "succeeded": "The money is back with the buyer.",
    "failed": "The refund failed; the booking says what became of the seats.",
}


@workflow.defn(name="Refund")
class RefundWorkflow(RefundContract):
    """The rows were written with the request; this workflow sees that they come true."""

    def __init__(self) -> None:
        self._told_to_ask = False

    @workflow.run
    async def run(self, input: RefundInput) -> RefundResult:
        undo = UndoStack()
        undo.register(lambda: durably(RefundSteps.withdraw_refund, input))
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
        """Ask until the provider has enough of our money to say yes or no."""
        seconds = FIRST_WAIT_SECONDS
        while True:
            try:
                await workflow.execute_activity_method(
                    RefundSteps.ask_refund, input, summary="ask the provider", **policies.REFUND
                )
            except ActivityError as error:
                if not _is_short(error):
                    raise
            else:
                return
            workflow.set_current_details("Our balance at the provider is too low; it waits.")
            await self._wait(seconds)
            seconds = min(seconds * 2, LONGEST_WAIT_SECONDS)

    async def _wait(self, seconds: float) -> None:
        try:
            await workflow.wait_condition(
                lambda: self._told_to_ask,
                timeout=timedelta(seconds=seconds),
                timeout_summary="until the balance may be enough",
            )
        except TimeoutError:
            pass
        self._told_to_ask = False

    @workflow.signal(description="Ask the provider now; the balance may be enough again.")
    def ask_again(self) -> None:
        self._told_to_ask = True

    async def _finish(self, input: RefundInput) -> RefundResult:
        """Settle, and tell Redis meanwhile: neither waits for the other to be there."""
        marks = asyncio.create_task(durably(RefundSteps.release_refunded, input))

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


def _is_short(error: ActivityError) -> bool:
    cause = error.cause
    return isinstance(cause, ApplicationError) and cause.type == INSUFFICIENT_BALANCE
