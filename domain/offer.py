"""Late money: what may become of it, and which other seats are offered for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from domain.booking import SeatPrice
from domain.seatmap import Seat, adjacent_blocks, free_runs


class LateState(StrEnum):
    """Where a late payment stands.

    ``goes_back``: its refund is decided, sent or settled. ``nothing_due``: it is not late money,
    or nothing was captured.
    """

    CONFIRMED = "confirmed"
    OFFERED = "offered"
    GOES_BACK = "goes_back"
    NOTHING_DUE = "nothing_due"


class OfferState(StrEnum):
    """An offer ends once; ``lapsed`` when nobody answered in time."""

    OPEN = "open"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    LAPSED = "lapsed"


@dataclass(frozen=True, slots=True)
class Offer:
    """Other seats for one late payment, claimed for its booking until ``expires_at``.

    Each costs what the seat cost whose place it takes. ``now`` is the database clock when it was
    read.
    """

    provider_payment_id: UUID
    booking_id: UUID
    state: OfferState
    seats: tuple[SeatPrice, ...]
    fences: tuple[int, ...]
    expires_at: datetime
    now: datetime

    @property
    def seconds_left(self) -> float:
        return (self.expires_at - self.now).total_seconds()

    @property
    def labels(self) -> list[str]:
        return [seat.label for seat in self.seats]


def choose_instead(
    lost: Sequence[SeatPrice], seats: Sequence[Seat], taken: AbstractSet[str]
) -> list[SeatPrice] | None:
    """As many seats as were ``lost``, of the same price classes and at the same prices, or None.

    ``seats`` are the whole hall's in reading order. For each price class it is the first block of
    neighbours; who had accessible places gets accessible places.
    """
    known = {seat.label: seat for seat in seats}
    if any(seat.label not in known for seat in lost):
        return None
    kinds = Counter((seat.price_class, known[seat.label].is_accessible) for seat in lost)
    instead: list[SeatPrice] = []
    for (price_class, accessible), count in kinds.items():
        runs = free_runs(seats, taken, price_class, accessible)
        block = next(adjacent_blocks(runs, count), None)
        if block is None:
            return None
        alike = [
            seat
            for seat in lost
            if (seat.price_class, known[seat.label].is_accessible) == (price_class, accessible)
        ]
        instead += [
            SeatPrice(label, seat.price_class, seat.ticket_type, seat.amount)
            for label, seat in zip(block, alike, strict=True)
        ]
    return instead
