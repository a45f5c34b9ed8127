"""Late money: decide what it buys, await the buyer's answer to an offer, or send it back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError

from contracts.booking import BookingActivities
from contracts.late_payment import LatePaymentContract, LateSteps, RefundActivities
from domain.offer import LateState, OfferState
from domain.steps import (
    LateOutcome,
    LatePaymentInput,
    LatePaymentResult,
    OfferAnswer,
    SessionStep,
)
from workflows import policies
from workflows.refund_retries import until_ended
from workflows.steps import durably, surely
from workflows.undo import UndoStack, to_the_end

DECIDING = "Deciding what becomes of the money."
STORIES = {
    LateState.CONFIRMED: "The booking is confirmed with this payment.",
    LateState.OFFERED: "Other seats are kept for the buyer, who has not answered yet.",
    LateState.GOES_BACK: "Sending the money back.",
    LateState.NOTHING_DUE: "There is nothing to do for this payment.",
}


@workflow.defn(name="LatePayment")
class LatePaymentWorkflow(LatePaymentContract):
    """PostgreSQL decides and holds the one end that an offer has; this workflow asks in time."""

    @workflow.init
    def __init__(self, input: LatePaymentInput) -> None:
        self._input = input
        self._outcome: LateOutcome | None = None
        self._undo = UndoStack()
        # One step at a time: the main line and the update share the offer.
        self._turn = asyncio.Lock()

    @workflow.run
    async def run(self, input: LatePaymentInput) -> LatePaymentResult:
        outcome = await self._decide()
        while outcome.state is LateState.OFFERED:
            outcome = await self._await_answer(outcome)
        await workflow.wait_condition(workflow.all_handlers_finished)
        if outcome.marks_left is not None:
            # Redis was away when the seats were sold.
            step = SessionStep(outcome.marks_left, self._input.request_id)
            await to_the_end(durably(BookingActivities.release_marks, step))
        if outcome.state is not LateState.GOES_BACK:
            return LatePaymentResult(outcome.state)
        result = await to_the_end(self._send_back(outcome))
        workflow.set_current_details(f"Refund: {result.outcome}.")
        return result

    async def _decide(self) -> LateOutcome:
        workflow.set_current_details(DECIDING)
        self._undo.register(lambda: durably(LateSteps.abandon_late, self._input))
        try:
            outcome = await to_the_end(surely(LateSteps.settle_late, self._input))
        except FailureError:
            await to_the_end(self._undo.run())
            outcome = LateOutcome(LateState.GOES_BACK, had_offer=True)
        self._undo.forget()
        return self._apply(outcome)

    async def _await_answer(self, offered: LateOutcome) -> LateOutcome:
        """Wait for the buyer or the end of the time; the timer only asks."""
        wish = OfferAnswer(
            self._input.provider_payment_id,
            OfferState.LAPSED,
            "system",
            request_id=self._input.request_id,
        )
        if await self._is_cancelled_before(offered):
            wish = replace(
                wish,
                end=OfferState.DECLINED,
                actor="operator:temporal",
                reason="the workflow was cancelled",
            )
        return await to_the_end(self._end(wish, unless_changed=offered))

    async def _is_cancelled_before(self, offered: LateOutcome) -> bool:
        """Wait for news, or the offer's end, or somebody who cancels the workflow itself."""
        if workflow.cancellation_reason() is not None:
            return True
        try:
            await workflow.wait_condition(
                lambda: self._outcome is not offered,
                timeout=timedelta(seconds=max(offered.seconds_left, 0.001)),
                timeout_summary="until the offer may have run out",
            )
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            return True
        return False

    async def _end(
        self, wish: OfferAnswer, *, unless_changed: LateOutcome | None = None
    ) -> LateOutcome:
        async with self._turn:
            if unless_changed is not None and self._outcome is not unless_changed:
                assert self._outcome is not None, "it was there before it changed"
                return self._outcome
            return self._apply(await surely(LateSteps.end_offer, wish))

    async def _send_back(self, outcome: LateOutcome) -> LatePaymentResult:
        """Refund, and tell Redis meanwhile: neither waits for the other to be there."""
        marks = None
        if outcome.had_offer:
            marks = asyncio.create_task(durably(LateSteps.release_offered, self._input))

        async def send() -> LatePaymentResult:
            sent: LatePaymentResult = await workflow.execute_activity_method(
                RefundActivities.send_refund, self._input, summary="refund whole", **policies.REFUND
            )
            return sent

        result = await until_ended(await send(), send)
        if marks is not None:
            await marks
        return result

    def _apply(self, outcome: LateOutcome) -> LateOutcome:
        self._outcome = outcome
        workflow.set_current_details(STORIES[outcome.state])
        return outcome

    @workflow.update(description="Accept or decline the offered seats: end, actor, for staff why.")
    async def answer_offer(self, wish: OfferAnswer) -> LateOutcome:
        await workflow.wait_condition(lambda: self._outcome is not None)
        return await self._end(wish)

    @answer_offer.validator
    def _may_answer(self, wish: OfferAnswer) -> None:
        if not wish.actor.strip():
            raise ApplicationError("Name the actor.", type="invalid")
        if wish.actor.startswith("operator:") and not wish.reason.strip():
            raise ApplicationError("Say why: a reason is needed.", type="invalid")
        if wish.end not in (OfferState.ACCEPTED, OfferState.DECLINED):
            raise ApplicationError("An offer is accepted or declined.", type="invalid")
        if wish.provider_payment_id != self._input.provider_payment_id:
            raise ApplicationError("This is another payment's workflow.", type="invalid")
        if self._outcome is not None and self._outcome.state is not LateState.OFFERED:
            raise ApplicationError("No offer is open any more.", type="invalid_state")

    @workflow.query(description="Where the payment stands, in plain words.")
    def stands(self) -> str:
        return STORIES[self._outcome.state] if self._outcome else DECIDING
