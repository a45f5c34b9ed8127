"""The port to the booking's durable process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol
from uuid import UUID

from domain.steps import (
    BookingInput,
    CancelRequest,
    ExtendRequest,
    HoldOutcome,
    LateOutcome,
    OfferAnswer,
    StepOutcome,
)

# What a process is started again with; None when the booking is over.
ReadBrief = Callable[[UUID], Awaitable[BookingInput | None]]


class ProcessUnknown(Exception):
    """The process may or may not have got the message; PostgreSQL's state decides."""


class ProcessAway(Exception):
    """The message did not get through."""


class ProcessOver(Exception):
    """No process of this booking is running, which proves nothing about the booking."""


class BookingProcess(Protocol):
    """Each method may raise ``ProcessAway`` or ``ProcessUnknown``."""

    async def reserve(self, input: BookingInput) -> HoldOutcome:
        """Start the booking, or join it, and wait until its seats are held or refused."""
        ...

    async def extend(
        self, booking_id: str, request: ExtendRequest, extension_id: str
    ) -> StepOutcome:
        """Raises ``ProcessOver`` and, for a message that makes no sense, ``Conflict``.

        Repeated under one ``extension_id``, it joins the first wish.
        """
        ...

    async def cancel(self, booking_id: str, request: CancelRequest) -> StepOutcome:
        """Raises ``ProcessOver`` and, for a message that makes no sense, ``Conflict``."""
        ...

    async def payment_settled(
        self,
        booking_id: UUID,
        provider_payment_id: str | None,
        request_id: str | None,
        *,
        read_brief: ReadBrief,
    ) -> None:
        """Tell the booking to look; one that is not running is started again and told.

        ``read_brief`` is asked only then; a booking without a brief is over and is not told.
        """
        ...

    async def ensure_running(self, input: BookingInput) -> None:
        """Start the booking's process unless it is running."""
        ...

    async def send_money_back(self, provider_payment_id: str, request_id: str | None) -> None:
        """Start the saga of a payment that does not confirm by itself, or join it.

        It decides about late money, and sends back what is decided to go back.
        """
        ...

    async def answer_offer(self, wish: OfferAnswer) -> LateOutcome:
        """Raises ``ProcessOver``, and ``Conflict`` when no offer is open any more."""
        ...

    async def refund(self, booking_id: UUID, number: int, request_id: str | None) -> None:
        """Start the process of a refund that was asked for, or join it."""
        ...
