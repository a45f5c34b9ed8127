"""A booking as its events tell it: what projections and pictures of the past are made of.

The events of one booking are put together in the order of their ``sequence``, whatever order
they became known in, and one that is not known yet leaves a gap. So what is known of a booking is
a function of the set of its known events, and not of how a reader came by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

from domain.events import EventType


@dataclass(frozen=True, slots=True)
class Fact:
    """A stored event. ``(xid, id)`` is its place among all events; the payload is upcast."""

    xid: int
    id: int
    aggregate_id: UUID
    sequence: int
    type: str
    payload: Mapping[str, Any]
    at: datetime


@dataclass(slots=True)
class HeldSeat:
    """A seat that a booking once claimed: ``held``, ``sold``, or given back.

    ``free``: given back unsold; ``returned``: given back after it was sold. ``fence`` rises with
    each new holder of the seat, so of two bookings' claims the greater is the later.
    """

    fence: int
    amount: int
    state: str = "held"


@dataclass(slots=True)
class History:
    """Amounts are minor units of ``currency``. ``lapses``: the clock alone may end the hold.

    ``wanted`` is how many seats were asked for; late money may be offered others beside them.
    """

    booking_id: UUID
    show_id: UUID
    currency: str
    made_at: datetime
    hold_expires_at: datetime
    state: str = "held"
    lapses: bool = True
    wanted: int = 0
    seats: dict[str, HeldSeat] = field(default_factory=dict)
    confirmed_at: datetime | None = None
    lapsed_at: datetime | None = None
    revenue: int = 0
    paid_by: str | None = None
    # By the ids of refund and dispute: what settled and then came back is due again.
    refunds: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)

    @property
    def refunded(self) -> int:
        """What its buyer got back of the revenue; money that was never revenue does not count."""
        return sum(self.refunds.values())

    @property
    def charged_back(self) -> int:
        return sum(self.lost.values())

    @property
    def ends_by_clock_at(self) -> datetime | None:
        """When its held seats go free by themselves, if nothing happens before."""
        return self.hold_expires_at if self.state == "held" and self.lapses else None

    def count(self, state: str) -> int:
        return sum(seat.state == state for seat in self.seats.values())


def histories(facts: Iterable[Fact]) -> dict[UUID, History]:
    """The bookings that ``facts`` tell of; each aggregate's facts stand together, by sequence.

    One whose reservation is not known yet, or that is no booking, is left out.
    """
    told = {}
    for aggregate_id, stream in groupby(facts, key=attrgetter("aggregate_id")):
        if (history := history_of(stream)) is not None:
            told[aggregate_id] = history
    return told


def history_of(stream: Iterable[Fact]) -> History | None:
    """Fold the facts of one aggregate, given by sequence."""
    history: History | None = None
    for fact in stream:
        if fact.type == EventType.RESERVATION_CREATED:
            history = _made(fact)
        elif history is not None and (then := THEN.get(fact.type)) is not None:
            then(history, fact)
    return history


def _made(fact: Fact) -> History:
    told = fact.payload
    return History(
        booking_id=fact.aggregate_id,
        show_id=UUID(told["show_id"]),
        currency=told["currency"],
        made_at=fact.at,
        hold_expires_at=datetime.fromisoformat(told["hold_expires_at"]),
    )


def _locked(history: History, fact: Fact) -> None:
    history.wanted = history.wanted or len(fact.payload["seats"])
    for seat in fact.payload["seats"]:
        history.seats[seat["label"]] = HeldSeat(seat["fence"], seat["amount"])


def _extended(history: History, fact: Fact) -> None:
    history.hold_expires_at = datetime.fromisoformat(fact.payload["hold_expires_at"])


def _paying(history: History, fact: Fact) -> None:
    _extended(history, fact)
    history.lapses = False


def _confirmed(history: History, fact: Fact) -> None:
    history.state = "confirmed"
    history.confirmed_at = fact.at
    history.paid_by = fact.payload["provider_payment_id"]
    for seat in history.seats.values():
        if seat.state == "held":
            seat.state = "sold"
            history.revenue += seat.amount


def _expired(history: History, fact: Fact) -> None:
    history.state = "expired"
    if fact.payload["why"] == "lapsed":
        history.lapsed_at = fact.at


def _released(history: History, fact: Fact) -> None:
    for label in fact.payload["labels"]:
        if (seat := history.seats.get(label)) is not None:
            seat.state = "returned" if seat.state == "sold" else "free"


def _refunded(history: History, fact: Fact) -> None:
    # Refunds on request have a number; those of money that nobody wanted have none.
    if "number" in fact.payload:
        history.refunds[fact.payload["refund_id"]] = fact.payload["amount"]


def _bounced(history: History, fact: Fact) -> None:
    history.refunds.pop(fact.payload["refund_id"], None)


def _dispute_closed(history: History, fact: Fact) -> None:
    told = fact.payload
    if told["outcome"] == "lost" and told["provider_payment_id"] == history.paid_by:
        history.lost[told["dispute_id"]] = told["amount"]


def _becomes(state: str) -> Callable[[History, Fact], None]:
    def then(history: History, _: Fact) -> None:
        history.state = state

    return then


THEN: Mapping[str, Callable[[History, Fact], None]] = {
    EventType.SEAT_LOCKED: _locked,
    EventType.SEATS_OFFERED: _locked,
    EventType.HOLD_EXTENDED: _extended,
    EventType.PAYMENT_STARTED: _paying,
    EventType.BOOKING_EXPIRING: _becomes("expiring"),
    EventType.BOOKING_CANCELLING: _becomes("cancelling"),
    EventType.BOOKING_CONFIRMED: _confirmed,
    EventType.BOOKING_EXPIRED: _expired,
    EventType.BOOKING_CANCELLED: _becomes("cancelled"),
    EventType.SEAT_RELEASED: _released,
    EventType.BOOKING_REFUNDING: _becomes("refund_pending"),
    EventType.BOOKING_RESTORED: _becomes("confirmed"),
    EventType.BOOKING_REFUNDED: _becomes("refunded"),
    EventType.BOOKING_DISPUTED: _becomes("disputed"),
    EventType.BOOKING_CHARGED_BACK: _becomes("charged_back"),
    EventType.REFUND_SETTLED: _refunded,
    EventType.REFUND_FAILED: _bounced,
    EventType.DISPUTE_CLOSED: _dispute_closed,
}
