"""What crosses to and from Temporal for one booking: its workflow, its steps, their messages.

Ids only: no name, address or telephone number enters a workflow history.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from temporalio import activity, workflow
from temporalio.common import SearchAttributeKey

from domain.booking import BookingState, CloseReason

BOOKING_QUEUE = "bookings"
"""Workflow tasks and local activities: steps on our own database."""
PAYMENT_QUEUE = "payments"
"""Regular activities: calls to the outside, and steps that a local attempt could not finish."""

RESERVE_UPDATE_ID = "reserve"

SHOW_ID = SearchAttributeKey.for_keyword("ShowId")
USER_ID = SearchAttributeKey.for_keyword("UserId")
BOOKING_STATUS = SearchAttributeKey.for_keyword("BookingStatus")
HOLD_EXPIRES_AT = SearchAttributeKey.for_datetime("HoldExpiresAt")


def booking_workflow_id(booking_id: str) -> str:
    return f"booking-{booking_id}"


@dataclass(frozen=True)
class SeatChoice:
    label: str
    ticket_type: str = "standard"


@dataclass(frozen=True)
class BookingInput:
    """A booking's whole brief. ``*_seconds`` are lengths, so that tests may shorten them."""

    booking_id: str
    user_id: str
    show_id: str
    seats: list[SeatChoice]
    hold_seconds: int
    hold_max_seconds: int
    grace_seconds: int
    payment_retry_seconds: float
    max_seats_per_user_show: int
    max_live_holds_per_user: int
    request_id: str | None = None


@dataclass(frozen=True)
class HoldOutcome:
    """``state`` is the booking's; ``rejected`` comes with the refusal's ``code`` and ``data``."""

    state: BookingState
    seconds_left: float = 0.0
    code: str | None = None
    detail: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StepOutcome:
    """Where the booking stands after a step.

    ``seconds_left`` is how long to wait before asking again: the hold's rest while ``held``, the
    grace's rest while closing. ``code`` names why a step was refused.
    """

    state: BookingState
    seconds_left: float = 0.0
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True)
class PaymentSettled:
    """Money arrived. The id is a hint to look; it carries no authority (``None``: nothing due)."""

    provider_payment_id: str | None
    request_id: str | None = None


@dataclass(frozen=True)
class ConfirmRequest:
    booking_id: str
    provider_payment_id: str | None
    request_id: str | None = None


@dataclass(frozen=True)
class ExtendRequest:
    """``actor`` is a user id or ``operator:<name>``; operators give a reason."""

    actor: str
    reason: str = ""
    request_id: str | None = None


@dataclass(frozen=True)
class CancelRequest:
    actor: str
    reason: str = ""
    request_id: str | None = None


@dataclass(frozen=True)
class ExtendStep:
    booking_id: str
    hold_seconds: int
    request: ExtendRequest


@dataclass(frozen=True)
class CloseStep:
    """End a hold: at once when no pay page was ever opened, else by way of closing it."""

    booking_id: str
    why: CloseReason
    actor: str
    reason: str = ""
    request_id: str | None = None


@dataclass(frozen=True)
class FinishStep:
    """Free the seats. ``session_closed`` false: only once the grace has run out."""

    booking_id: str
    grace_seconds: int
    session_closed: bool
    request_id: str | None = None


@dataclass(frozen=True)
class SessionStep:
    booking_id: str
    request_id: str | None = None


@dataclass(frozen=True)
class SessionOutcome:
    """``closed``: it takes no more money. ``captured``: payments found that may confirm."""

    closed: bool
    captured: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class BookingView:
    """What an operator sees in a query."""

    booking_id: str
    state: str
    story: str


@dataclass(frozen=True)
class BookingResult:
    state: BookingState
    code: str | None = None


@workflow.defn(name="Booking")
class BookingContract(ABC):
    """One booking from its hold to its end: confirmed, expired, cancelled or rejected."""

    @workflow.run
    @abstractmethod
    async def run(self, input: BookingInput) -> BookingResult: ...

    @workflow.update(
        name="reserve", description="Answer when the seats are held, or say why they are not."
    )
    @abstractmethod
    async def reserve(self) -> HoldOutcome: ...

    @workflow.signal(
        name="payment_settled",
        description="Look at the payments again. Confirms nothing without verified money.",
    )
    @abstractmethod
    def payment_settled(self, message: PaymentSettled) -> None: ...

    @workflow.update(name="extend", description="Lengthen the hold: actor and, for staff, reason.")
    @abstractmethod
    async def extend(self, request: ExtendRequest) -> StepOutcome: ...

    @workflow.update(
        name="cancel",
        description="Cancel for the buyer: closes the pay page before it frees the seats.",
    )
    @abstractmethod
    async def cancel(self, request: CancelRequest) -> StepOutcome: ...

    @workflow.update(
        name="force_release",
        description="End the hold now as if its time had run out; actor and reason are needed.",
    )
    @abstractmethod
    async def force_release(self, request: CancelRequest) -> StepOutcome: ...

    @workflow.query(name="where", description="Where the booking stands, in plain words.")
    @abstractmethod
    def where(self) -> BookingView: ...


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


class SessionActivities(ABC):
    """Steps that call the payment provider; never on the two tasks of a plain booking."""

    @activity.defn
    @abstractmethod
    async def close_session(self, step: SessionStep) -> SessionOutcome: ...
