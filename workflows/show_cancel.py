"""A cancelled show: holds end, refunds go out at the provider's pace, and a report is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from contracts.show_cancel import ShowCancelContract, ShowCancelSteps
from domain.show_cancel import (
    BALANCE,
    LONGEST_PROBE_SECONDS,
    BatchDone,
    Left,
    OperatorRequest,
    PauseStep,
    Probe,
    ShowCancelInput,
    ShowCancelResult,
    ShowCancelView,
    ShowStep,
    Stage,
    seconds_for,
)
from workflows import policies

HOLDS_PER_STEP = 20
FIRST_LOOK_SECONDS = 1.0
LONGEST_LOOK_SECONDS = 300.0

STORIES = {
    Stage.HOLDS: "The sale is closed; holds are being ended, pay pages before seats.",
    Stage.REFUNDS: "Refunds are being started.",
    Stage.SETTLING: "All refunds are started; waiting for the last ones to settle.",
    Stage.FINISHED: "Everybody was told, and all the money that could go back went back.",
}


@workflow.defn(name="ShowCancel")
class ShowCancelWorkflow(ShowCancelContract):
    """PostgreSQL knows what is done: this workflow owns the pace, the waits and the order."""

    @workflow.init
    def __init__(self, input: ShowCancelInput) -> None:
        self._input = input
        self._stage = input.stage
        self._after = input.after
        self._holds, self._refunds = input.holds, input.refunds
        self._paused = input.paused if input.paused != BALANCE else None
        self._short = False
        self._told_to_probe = False
        self._done_here = 0
        self._look_seconds = FIRST_LOOK_SECONDS
        self._notes = asyncio.Lock()
        self._tell()

    @workflow.run
    async def run(self, input: ShowCancelInput) -> ShowCancelResult:
        while self._stage is not Stage.FINISHED:
            await workflow.wait_condition(lambda: self._paused is None)
            if self._is_long():
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(self._carried_over())
            await self._next_step()
            self._tell()
        result: ShowCancelResult = await self._run(ShowCancelSteps.finish_show, self._step())
        await workflow.wait_condition(workflow.all_handlers_finished)
        return result

    async def _next_step(self) -> None:
        if self._stage is Stage.HOLDS:
            step = self._step(HOLDS_PER_STEP)
            done: BatchDone = await self._run(ShowCancelSteps.end_holds, step)
            self._holds += done.bookings
            self._go_on(done, Stage.REFUNDS)
        elif self._stage is Stage.REFUNDS:
            await self._some_refunds()
        else:
            await self._settle()

    async def _some_refunds(self) -> None:
        """As many as the provider takes in a second, then the time that they take there."""
        most = max(1, int(self._input.refunds_per_second))
        done: BatchDone = await self._run(ShowCancelSteps.start_refunds, self._step(most))
        self._refunds += done.refunds
        # How many a try that failed had started is lost with it: it was a full second's at most.
        await self._pace(done.refunds + most * done.failed_tries)
        if done.short:
            await self._wait_for_balance()
        else:
            self._go_on(done, Stage.SETTLING)

    async def _settle(self) -> None:
        """Look again until nothing is left; a refund that was withdrawn may leave a booking."""
        left: Left = await self._run(ShowCancelSteps.read_left, self._step())
        if left.is_nothing:
            self._stage = Stage.FINISHED
        elif left.untold:
            # No refund waits for a hold that cannot be told; once it is, there may be one more.
            self._stage, self._after = Stage.HOLDS, None
            await self._rest()
        elif left.short:
            await self._wait_for_balance()
        elif left.refundable:
            self._stage, self._after = Stage.REFUNDS, None
            # One that settles by and by must not keep another waiting, nor this turn fast.
            await self._rest()
        else:
            await self._rest()

    async def _rest(self) -> None:
        self._done_here += 1
        self._tell()
        await workflow.sleep(self._look_seconds, summary="until refunds may have settled")
        self._look_seconds = min(self._look_seconds * 2, LONGEST_LOOK_SECONDS)

    async def _wait_for_balance(self) -> None:
        """Ask for one refund again, at growing intervals or when told to, until it is granted."""
        self._short, self._told_to_probe = True, False
        self._tell()
        await self._note(BALANCE)
        if self._paused is not None:
            # An operator's word stands above the balance's, should the run be lost and start anew.
            await self._note(self._paused)
        seconds = self._input.first_probe_seconds
        probe = Probe.SHORT
        while probe is not Probe.NOTHING:
            if probe is Probe.SHORT:
                await self._until_told(seconds)
                seconds = min(seconds * 2, LONGEST_PROBE_SECONDS)
            else:
                await self._pace(1)
            probe = await self._run(ShowCancelSteps.probe_balance, self._step())
        self._short = False
        await self._note(self._paused)

    async def _until_told(self, seconds: float) -> None:
        try:
            await workflow.wait_condition(
                lambda: self._told_to_probe,
                timeout=timedelta(seconds=seconds),
                timeout_summary="until the balance may be enough",
            )
        except TimeoutError:
            pass
        self._told_to_probe = False
        await workflow.wait_condition(lambda: self._paused is None)

    async def _pace(self, refunds: int) -> None:
        if refunds:
            seconds = seconds_for(refunds, self._input.refunds_per_second)
            await workflow.sleep(seconds, summary=f"the pace of {refunds} refunds")

    async def _note(self, why: str | None, by: OperatorRequest | None = None) -> None:
        """In the order of what happened: a note that is tried again must not undo a later one."""
        update = workflow.current_update_info()
        wish = update.id if update is not None else None
        step = PauseStep(self._input.show_id, why, by, self._input.request_id, wish)
        async with self._notes:
            await self._run(ShowCancelSteps.note_pause, step)

    async def _run(self, step: Callable[..., Awaitable[Any]], message: object) -> Any:
        return await workflow.execute_activity_method(step, message, **policies.SHOW_STEP)

    def _step(self, most: int = 1) -> ShowStep:
        return ShowStep(self._input.show_id, self._after, most, self._input.request_id)

    def _go_on(self, done: BatchDone, then: Stage) -> None:
        self._done_here += max(1, done.bookings)
        self._after = done.after
        if done.after is None:
            self._stage = then

    def _is_long(self) -> bool:
        info = workflow.info()
        return (
            self._done_here >= self._input.bookings_per_run or info.is_continue_as_new_suggested()
        )

    def _carried_over(self) -> ShowCancelInput:
        return replace(
            self._input,
            paused=self._paused,
            stage=self._stage,
            after=self._after,
            holds=self._holds,
            refunds=self._refunds,
        )

    def _tell(self) -> None:
        told = f"{self._holds} holds told, {self._refunds} refunds started."
        workflow.set_current_details(f"{self._story()}  \n{told}")

    def _story(self) -> str:
        if self._paused is not None:
            return f"Paused by an operator: {self._paused}"
        if self._short:
            return (
                "Paused: our balance at the provider is too low. Top it up; one refund is tried"
                " again at growing intervals, and at once by `resume`."
            )
        return STORIES[self._stage]

    @workflow.update(description="Start no more refunds until resume: actor and reason.")
    async def pause(self, request: OperatorRequest) -> ShowCancelView:
        self._paused = request.reason
        self._tell()
        await self._note(request.reason, request)
        return self.progress()

    @pause.validator
    def _may_pause(self, request: OperatorRequest) -> None:
        _require(request)
        if self._paused is not None or self._stage is Stage.FINISHED:
            raise ApplicationError("It is paused already, or over.", type="invalid_state")

    @workflow.update(description="Go on, and ask a provider whose balance was too low: who, why.")
    async def resume(self, request: OperatorRequest) -> ShowCancelView:
        self._paused, self._told_to_probe = None, True
        self._tell()
        await self._note(BALANCE if self._short else None, request)
        return self.progress()

    @resume.validator
    def _may_resume(self, request: OperatorRequest) -> None:
        _require(request)
        if self._paused is None and not self._short:
            raise ApplicationError("It is not paused.", type="invalid_state")

    @workflow.query(description="How far it is, in plain words.")
    def progress(self) -> ShowCancelView:
        paused = self._paused or (BALANCE if self._short else None)
        return ShowCancelView(
            self._input.show_id, self._stage, paused, self._holds, self._refunds, self._story()
        )


def _require(request: OperatorRequest) -> None:
    """Who acts must be named, and say why."""
    if not request.actor.strip() or not request.reason.strip():
        raise ApplicationError("Name the actor and the reason.", type="invalid")
