"""One booking: hold the seats, await the payment against a timer, confirm, or give them back."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError

from contracts.booking import (
    BOOKING_STATUS,
    BookingActivities,
    BookingContract,
    CaptureActivities,
    SessionActivities,
)
from domain.booking import BookingState, CloseReason
from domain.steps import (
    BookingInput,
    BookingResult,
    BookingView,
    CancelRequest,
    CaptureStep,
    CloseStep,
    ConfirmRequest,
    ExtendRequest,
    ExtendStep,
    FinishStep,
    HoldOutcome,
    PaymentSettled,
    SessionStep,
    StepOutcome,
)
from workflows import policies
from workflows.steps import durably, locally, surely
from workflows.undo import UndoStack, to_the_end

STORIES = {
    BookingState.PENDING: "The seats are being held.",
    BookingState.HELD: "The seats are held; waiting for the payment until the hold runs out.",
    BookingState.EXPIRING: "The hold has run out; the pay page is being closed before the seats "
    "go free.",
    BookingState.CANCELLING: "Cancelled by request; the pay page is being closed before the seats "
    "go free.",
    BookingState.CONFIRMED: "Paid and confirmed; the seats are sold.",
    BookingState.EXPIRED: "The hold ended without a payment; the seats are free.",
    BookingState.CANCELLED: "Cancelled; the seats are free.",
    BookingState.REJECTED: "The seats could not be held.",
}


CONFIRMING = "Authorised; the seats are final and the money is being taken."


@workflow.defn(name="Booking")
class BookingWorkflow(BookingContract):
    """PostgreSQL owns the truth: this workflow owns when to look and in which order."""

    @workflow.init
    def __init__(self, input: BookingInput) -> None:
        self._input = input
        self._state = BookingState.PENDING
        self._hold: HoldOutcome | None = None
        self._seconds_left = 0.0
        self._payments: deque[PaymentSettled] = deque()
        self._undo = UndoStack()
        self._marks_left = False
        # The authorised payment for which the seats are final, until it is taken or given up.
        self._capturing: str | None = None
        # One step at a time: the main line and the update handlers share the booking.
        self._turn = asyncio.Lock()

    @workflow.run
    async def run(self, input: BookingInput) -> BookingResult:
        await self._hold_seats()
        while self._state.is_open:
            await self._next_step()
        if self._marks_left:
            # Redis was away: until it hears, it may turn buyers away from seats that are free, or
            # start a booking for each who asks for one that is sold.
            step = SessionStep(input.booking_id, input.request_id)
            await to_the_end(durably(BookingActivities.release_marks, step))
        workflow.upsert_search_attributes([BOOKING_STATUS.value_set(self._state.value)])
        await workflow.wait_condition(workflow.all_handlers_finished)
        return BookingResult(self._state, self._hold.code if self._hold else None)

    async def _hold_seats(self) -> None:
        step = CloseStep(
            self._input.booking_id,
            CloseReason.FAILED,
            actor="system",
            request_id=self._input.request_id,
        )
        self._undo.register(lambda: durably(BookingActivities.close_hold, step))
        try:
            hold = await to_the_end(locally(BookingActivities.hold_seats, self._input))
        except FailureError:
            await to_the_end(self._undo.run())
            hold = HoldOutcome(
                BookingState.REJECTED,
                code="unavailable",
                detail="The seats could not be held; try again.",
            )
        self._undo.forget()
        self._hold, self._seconds_left = hold, hold.seconds_left
        self._move_to(hold.state)

    async def _next_step(self) -> None:
        """Do what there is to do; with nothing to do, wait for it."""
        if self._capturing is not None:
            await to_the_end(self._capture(self._capturing))
        elif self._payments:
            await to_the_end(self._confirm(self._payments.popleft()))
        elif self._state.is_closing:
            await to_the_end(self._close_session())
        elif workflow.cancellation_reason() is not None:
            reason = "the workflow was cancelled"
            await to_the_end(self._close(CloseReason.RELEASED, "operator:temporal", reason))
        elif not await self._wait(self._seconds_left):
            await to_the_end(self._close(CloseReason.LAPSED, "system"))

    async def _wait(self, seconds: float) -> bool:
        """Wait for news; False when the time ran out first. The timer only asks."""
        state = self._state
        try:
            await workflow.wait_condition(
                lambda: bool(self._payments) or self._state is not state,
                timeout=timedelta(seconds=max(seconds, 0.001)),
                timeout_summary="until the hold may have run out"
                if state is BookingState.HELD
                else "until the provider is asked again",
            )
        except TimeoutError:
            return bool(self._payments) or self._state is not state
        except asyncio.CancelledError:
            # Cancelling the workflow is news like any other: the next step closes in order.
            return True
        return True

    async def _confirm(self, settled: PaymentSettled) -> None:
        request = ConfirmRequest(
            self._input.booking_id, settled.provider_payment_id, settled.request_id
        )
        async with self._turn:
            self._apply(await surely(BookingActivities.confirm_booking, request))

    async def _capture(self, payment_id: str) -> None:
        """Take the money, then confirm; refused or lost, it is let go and the booking expires."""
        step = CaptureStep(self._input.booking_id, payment_id, self._input.request_id)
        self._undo.register(lambda: self._abandon(step))
        try:
            taken = await workflow.execute_activity_method(
                CaptureActivities.capture_payment,
                step,
                summary="take the authorised money",
                **policies.CAPTURE,
            )
        except FailureError:
            taken = False
        if taken:
            await self._confirm(PaymentSettled(payment_id, self._input.request_id))
        if self._capturing is not None:
            await self._undo.run()
        self._undo.forget()

    async def _abandon(self, step: CaptureStep) -> None:
        async with self._turn:
            self._apply(await durably(CaptureActivities.abandon_capture, step))

    async def _close(
        self, why: CloseReason, actor: str, reason: str = "", request_id: str | None = None
    ) -> StepOutcome:
        """``request_id`` is that of whoever asks for it; else it goes on from the reserve."""
        told = request_id or self._input.request_id
        step = CloseStep(self._input.booking_id, why, actor, reason, request_id=told)
        async with self._turn:
            outcome: StepOutcome = await surely(BookingActivities.close_hold, step)
            self._apply(outcome)
        return outcome

    async def _close_for(
        self, why: CloseReason, wish: CancelRequest, buyer: str | None = None
    ) -> StepOutcome:
        actor = _audited(wish.actor, buyer)
        return await self._close(why, actor, wish.reason, wish.request_id)

    async def _close_session(self) -> None:
        """Ask the provider to close the page; only then, or after the grace, free the seats."""
        session = await workflow.execute_activity_method(
            SessionActivities.close_session,
            SessionStep(self._input.booking_id, self._input.request_id),
            summary="close the pay page",
            **policies.ASK_PROVIDER,
        )
        if session.captured and self._state is BookingState.EXPIRING:
            self._payments.extend(PaymentSettled(paid) for paid in session.captured)
            return
        step = FinishStep(
            self._input.booking_id,
            self._input.grace_seconds,
            session.closed,
            self._input.request_id,
            self._input.settling_grace_seconds,
            session.is_settling,
        )
        async with self._turn:
            self._apply(await surely(BookingActivities.finish_close, step))
        if self._state.is_closing:
            await self._wait(min(self._input.payment_retry_seconds, self._seconds_left))

    def _apply(self, outcome: StepOutcome) -> None:
        self._seconds_left = outcome.seconds_left
        # A step that comes after the end has nothing to tell Redis, and knows of no one that had.
        self._marks_left |= outcome.marks_left
        self._capturing = outcome.capture
        if outcome.paid is not None:
            self._payments.append(PaymentSettled(outcome.paid, self._input.request_id))
        self._move_to(outcome.state)

    def _move_to(self, state: BookingState) -> None:
        self._state = state
        story = CONFIRMING if self._capturing else STORIES.get(state, f"The booking is {state}.")
        workflow.set_current_details(story)

    @workflow.update(description="Answer when the seats are held, or say why they are not.")
    async def reserve(self) -> HoldOutcome:
        await workflow.wait_condition(lambda: self._hold is not None)
        assert self._hold is not None
        return self._hold

    @workflow.signal(
        description="Look at the payments again. Confirms nothing without verified money.",
    )
    def payment_settled(self, message: PaymentSettled) -> None:
        self._payments.append(message)

    @workflow.update(
        description="Lengthen the hold: your name as the actor, and the reason.",
    )
    async def extend(self, request: ExtendRequest) -> StepOutcome:
        await workflow.wait_condition(lambda: self._hold is not None)
        update = workflow.current_update_info()
        assert update is not None
        request = replace(request, actor=_audited(request.actor, self._input.user_id))
        step = ExtendStep(self._input.booking_id, self._input.hold_seconds, request, update.id)
        async with self._turn:
            outcome: StepOutcome = await surely(BookingActivities.extend_hold, step)
            self._apply(outcome)
        return outcome

    @extend.validator
    def _may_extend(self, request: ExtendRequest) -> None:
        _require_actor(request.actor, request.reason, buyer=self._input.user_id)
        # Of a hold that has run out the step itself says so, by its own code.
        self._require(*_EXTENDABLE)

    @workflow.update(
        description="Cancel for the buyer: closes the pay page before it frees the seats. "
        "Your name as the actor, and the reason.",
    )
    async def cancel(self, request: CancelRequest) -> StepOutcome:
        await workflow.wait_condition(lambda: self._hold is not None)
        return await self._close_for(CloseReason.CANCELLED, request, self._input.user_id)

    @cancel.validator
    def _may_cancel(self, request: CancelRequest) -> None:
        _require_actor(request.actor, request.reason, buyer=self._input.user_id)
        self._require(BookingState.PENDING, *_OPEN)

    @workflow.update(
        description="End the hold now as if its time had run out. "
        "Your name as the actor, and the reason.",
    )
    async def force_release(self, request: CancelRequest) -> StepOutcome:
        await workflow.wait_condition(lambda: self._hold is not None)
        return await self._close_for(CloseReason.RELEASED, request)

    @force_release.validator
    def _may_release(self, request: CancelRequest) -> None:
        _require_actor(request.actor, request.reason)
        # Beyond these it would change nothing, and nobody would be on record.
        self._require(BookingState.PENDING, BookingState.HELD)
        if self._capturing is not None:
            raise ApplicationError(
                "The money is being taken; look again in a moment.", type="invalid_state"
            )

    @workflow.query(description="Where the booking stands, in plain words.")
    def where(self) -> BookingView:
        return BookingView(self._input.booking_id, self._state, STORIES.get(self._state, ""))

    def _require(self, *states: BookingState) -> None:
        if self._state not in states:
            raise ApplicationError(
                f"The booking is {self._state}; this makes no sense now.", type="invalid_state"
            )


_OPERATOR = "operator:"
_OPEN = (BookingState.HELD, BookingState.EXPIRING, BookingState.CANCELLING)
_EXTENDABLE = (
    BookingState.PENDING,
    BookingState.HELD,
    BookingState.EXPIRING,
    BookingState.EXPIRED,
)


def _audited(actor: str, buyer: str | None) -> str:
    """As the audit log has it: whoever is not the buyer acts as an operator."""
    is_told = actor == buyer or actor.startswith(_OPERATOR)
    return actor if is_told else f"{_OPERATOR}{actor}"


def _require_actor(actor: str, reason: str, *, buyer: str | None = None) -> None:
    """Who acts must be named; whoever is not the buyer says why, too."""
    if not actor.removeprefix(_OPERATOR).strip():
        raise ApplicationError("Name the actor.", type="invalid")
    if actor != buyer and not reason.strip():
        raise ApplicationError("Say why: a reason is needed.", type="invalid")
