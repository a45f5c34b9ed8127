"""The port to offers: other seats that are kept for a late payment until its buyer answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.booking import Booking, SeatPrice
from domain.offer import Offer, OfferState
from domain.seatmap import Seat


@dataclass(frozen=True, slots=True)
class LateContext:
    """What a late payment is judged by, read under its user's and its booking's locks.

    ``seats_of_user`` counts the user's other live and confirmed seats of the show.
    ``decided_before``: another payment of this booking was late money too, and is decided.
    ``offered_for``: the payment for which an offer of this booking is open.
    """

    on_sale: bool
    sales_open: bool
    sales_close_at: datetime
    offers_seats: bool
    seats_of_user: int
    decided_before: bool
    offered_for: UUID | None


class Offers(Protocol):
    async def context(self, booking: Booking, receipt_id: UUID) -> LateContext: ...

    async def lost_seats(self, booking_id: UUID) -> list[SeatPrice]:
        """The booking's own seats at the prices they were held at."""
        ...

    async def hall(self, show_id: UUID) -> tuple[list[Seat], set[str]]:
        """Every seat in reading order, and those with any claim, also one that may have lapsed."""
        ...

    def add(self, offer: Offer) -> None:
        """Insert it; a booking has one open offer at most, a payment one for ever."""
        ...

    async def find(self, receipt_id: UUID) -> Offer | None: ...

    async def of_booking(self, booking_id: UUID) -> Offer | None:
        """The booking's newest offer."""
        ...

    def end(self, receipt_id: UUID, state: OfferState) -> None:
        """Leave ``open``; when somebody ended it before, everything is rolled back."""
        ...

    def reseat(self, booking_id: UUID, seats: Sequence[SeatPrice]) -> None:
        """Put these in place of the booking's seats; there must be as many."""
        ...
