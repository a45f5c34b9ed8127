"""What a booking promises to Temporal: its workflow, its messages' names, its steps."""

from __future__ import annotations

from abc import ABC, abstractmethod

from temporalio import activity, workflow
from temporalio.common import SearchAttributeKey

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
    SessionOutcome,
    SessionStep,
    StepOutcome,
)

BOOKING_QUEUE = "bookings"
"""Workflow tasks and local activities: steps on our own database."""
PAYMENT_QUEUE = "payments"
"""Regular activities: calls to the outside, and steps that a local attempt could not finish."""

RESERVE_UPDATE_ID = "reserve"

SHOW_ID = SearchAttributeKey.for_keyword("ShowId")
USER_ID = SearchAttributeKey.for_keyword("UserId")
BOOKING_STATUS = SearchAttributeKey.for_keyword("BookingStatus")
HOLD_EXPIRES_AT = SearchAttributeKey.for_datetime("HoldExpiresAt")
SEARCH_ATTRIBUTES = (
    SHOW_ID,
    USER_ID,
    BOOKING_STATUS,
    HOLD_EXPIRES_AT,
)


def booking_workflow_id(booking_id: str) -> str:
    return f"booking-{booking_id}"


@workflow.defn(name="Booking")
class BookingContract(ABC):
    """One booking from its hold to its end: confirmed, expired, cancelled or rejected."""

    @workflow.run
    @abstractmethod
    async def run(self, input: BookingInput) -> BookingResult: ...

    @workflow.update
    @abstractmethod
    async def reserve(self) -> HoldOutcome:
        """Answer when the seats are held, or say why they are not."""
        ...

    @workflow.signal
    @abstractmethod
    def payment_settled(self, message: PaymentSettled) -> None:
        """Look at the payments again; confirms nothing without verified money."""
        ...

    @workflow.update
    @abstractmethod
    async def extend(self, request: ExtendRequest) -> StepOutcome:
        """Lengthen the hold, for its buyer or an operator who says why."""
        ...

    @workflow.update
    @abstractmethod
    async def cancel(self, request: CancelRequest) -> StepOutcome:
        """Cancel for the buyer, or an operator who says why: the pay page is closed first."""
        ...

    @workflow.update
    @abstractmethod
    async def force_release(self, request: CancelRequest) -> StepOutcome:
        """End the hold now as if its time had run out, for an operator who says why."""
        ...

    @workflow.query
    @abstractmethod
    def where(self) -> BookingView:
        """Where the booking stands, in plain words."""
        ...


class BookingActivities(ABC):
    """The saga's steps on our own database; each may run twice and changes things once."""

    @activity.defn
    @abstractmethod
    async def hold_seats(self, input: BookingInput) -> HoldOutcome: ...

    @activity.defn
    @abstractmethod
    async def extend_hold(self, step: ExtendStep) -> StepOutcome: ...

    @activity.defn
    @abstractmethod
    async def confirm_booking(self, request: ConfirmRequest) -> StepOutcome: ...

    @activity.defn
    @abstractmethod
    async def close_hold(self, step: CloseStep) -> StepOutcome: ...

    @activity.defn
    @abstractmethod
    async def finish_close(self, step: FinishStep) -> StepOutcome: ...

    @activity.defn
    @abstractmethod
    async def release_marks(self, step: SessionStep) -> None:
        """Have Redis load the show anew, for what became of the seats it missed; raises while it
        is away.
        """
        ...


class CaptureActivities(ABC):
    """Authorised money, once the seats are final for it; never on a plain booking's tasks."""

    @activity.defn
    @abstractmethod
    async def capture_payment(self, step: CaptureStep) -> bool:
        """Take it at the provider under a fixed key; whether it is taken, False: refused."""
        ...

    @activity.defn
    @abstractmethod
    async def abandon_capture(self, step: CaptureStep) -> StepOutcome:
        """Give up taking it: the booking goes the way of an expiry, the money is let go."""
        ...


class SessionActivities(ABC):
    """Steps that call the payment provider; never on the two tasks of a plain booking."""

    @activity.defn
    @abstractmethod
    async def close_session(self, step: SessionStep) -> SessionOutcome: ...
