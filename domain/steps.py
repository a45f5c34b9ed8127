"""The messages of a booking's steps: plain data that survives a round trip through JSON.

Ids only: no name, address or telephone number enters a workflow history.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from domain.booking import BookingState, CloseReason
from domain.offer import LateState, OfferState


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
    # 0 = off. Both count what its buyer began within the last ``cool_down_seconds``.
    max_lapsed_holds: int = 0
    max_cancelled_holds_per_show: int = 0
    cool_down_seconds: int = 3600
    # The grace where money is on its way, if that is longer.
    settling_grace_seconds: int = 0

    @property
    def longest_grace_seconds(self) -> int:
        return max(self.grace_seconds, self.settling_grace_seconds)


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
    grace's rest while closing. ``code`` names why a step was refused. ``marks_left``: the seats
    are free or sold, but Redis was away and may say otherwise. ``capture``: the seats are final for
    this authorised payment; its money is to be taken next. ``paid``: this payment was written
    down and nobody was told; it is to be judged before anything else.
    """

    state: BookingState
    seconds_left: float = 0.0
    code: str | None = None
    detail: str | None = None
    marks_left: bool = False
    capture: str | None = None
    paid: str | None = None


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
    """``actor`` is the buyer's user id, or names an operator, who gives a reason."""

    actor: str
    reason: str = ""
    request_id: str | None = None


@dataclass(frozen=True)
class CancelRequest:
    """As ``ExtendRequest``; whoever forces a release does it as an operator."""

    actor: str
    reason: str = ""
    request_id: str | None = None


@dataclass(frozen=True)
class ExtendStep:
    """``extension_id`` is the wish's own: a step that is run again for it adds nothing."""

    booking_id: str
    hold_seconds: int
    request: ExtendRequest
    extension_id: str


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
    """Free the seats; while a page may still take money, only once the grace has run out.

    ``settling_grace_seconds``, if longer, is the grace where a payment is ``processing``, or
    ``is_settling``: after a card that failed the rows do not tell of the next one on its way.
    """

    booking_id: str
    grace_seconds: int
    # Not read: the rows tell it. A worker of before cannot read a step that comes without it.
    session_closed: bool
    request_id: str | None = None
    settling_grace_seconds: int = 0
    is_settling: bool = False

    @property
    def longest_grace_seconds(self) -> int:
        return max(self.grace_seconds, self.settling_grace_seconds)


@dataclass(frozen=True)
class SessionStep:
    booking_id: str
    request_id: str | None = None


@dataclass(frozen=True)
class SessionOutcome:
    """``closed``: it takes no more money. ``captured``: payments found that may confirm.

    ``is_settling``: money is on its way there.
    """

    closed: bool
    captured: list[str] = field(default_factory=list)
    is_settling: bool = False


@dataclass(frozen=True)
class CaptureStep:
    """Take, or give up, the authorised payment for which a booking's seats were made final."""

    booking_id: str
    provider_payment_id: str
    request_id: str | None = None


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


@dataclass(frozen=True)
class LatePaymentInput:
    provider_payment_id: str
    request_id: str | None = None


@dataclass(frozen=True)
class LateOutcome:
    """Where a late payment stands after a step.

    ``seconds_left``: until its open offer ends. ``had_offer``: an offer of it has ended, and Redis
    may not know. ``marks_left``: the booking whose seats it bought while Redis was away. ``code``
    and ``detail`` say why an answer was refused.
    """

    state: LateState
    seconds_left: float = 0.0
    had_offer: bool = False
    marks_left: str | None = None
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True)
class OfferAnswer:
    """How an offer is to end: ``accepted``, ``declined``, or ``lapsed`` if its time is up.

    ``actor`` is a user id, ``system`` or ``operator:<name>``; operators give a reason.
    """

    provider_payment_id: str
    end: OfferState
    actor: str
    reason: str = ""
    request_id: str | None = None


@dataclass(frozen=True)
class RefundInput:
    """Refund ``number`` of the booking, as it was reserved in PostgreSQL."""

    booking_id: str
    number: int
    request_id: str | None = None


@dataclass(frozen=True)
class RefundResult:
    """``succeeded``, or ``failed`` when any part of the money did not go back.

    ``retry``: the provider says that a part failed; ask for it again later, under its new key.
    """

    outcome: str


@dataclass(frozen=True)
class LatePaymentResult:
    """``confirmed``: its booking stands; ``nothing_due``: it was decided to stay; ``voided``:
    nothing was taken; else how the refund ended.

    ``retry``: the provider says that it failed; send it again later, under its new key.
    """

    outcome: str
