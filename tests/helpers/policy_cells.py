"""The 360 cells of the decision table, and which of them any call can lead to."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

from domain.booking import BookingState
from domain.payment_policy import Decision, PaymentFact, PaymentMode, decide

# The policy's nine states. PAYING is a held booking whose pay page is open; in HELD it was closed.
STATES = {
    "HELD": BookingState.HELD,
    "PAYING": BookingState.HELD,
    "EXPIRING": BookingState.EXPIRING,
    "EXPIRED": BookingState.EXPIRED,
    "CANCELLING": BookingState.CANCELLING,
    "CANCELLED": BookingState.CANCELLED,
    "CONFIRMED": BookingState.CONFIRMED,
    "REFUNDED": BookingState.REFUNDED,
    "CHARGED_BACK": BookingState.CHARGED_BACK,
}
OWN_SEATS = ("HELD", "PAYING", "EXPIRING", "CANCELLING", "CONFIRMED")
UNDECIDED = ("HELD", "PAYING", "EXPIRING")
UNPAID = ("EXPIRED", "CANCELLING", "CANCELLED")
PAID = ("CONFIRMED", "REFUNDED", "CHARGED_BACK")
NO_TICKET = ("REFUNDED", "CHARGED_BACK")
CLOSING = ("EXPIRING", "CANCELLING")
ENDS = {"EXPIRING": BookingState.EXPIRED, "CANCELLING": BookingState.CANCELLED}


class PolicyCell(NamedTuple):
    """A booking's state, one fact, and what the answer may depend on.

    ``mode`` is how the fact's money stands; of a page that is closed unpaid, how it was to be paid.
    """

    mode: PaymentMode
    state: str
    fact: PaymentFact
    seats: str
    window: str

    def __str__(self) -> str:
        return ", ".join(self)

    @property
    def way(self) -> str:
        """How a booking comes into the cell: its state, or where that is not all, more of it.

        ``OFFERED``: expired, its first late payment waits for the buyer's answer to an offer.
        ``CALLED_OFF``: paid, all the money back by hand, and then the show was cancelled.
        """
        if self.fact is PaymentFact.DUPLICATE:
            return {"EXPIRED": "OFFERED", "CANCELLED": "CALLED_OFF"}.get(self.state, self.state)
        return self.state

    @property
    def decision(self) -> Decision:
        return decide(
            STATES[self.state],
            self.fact,
            seats_free=self.seats == "seats free",
            in_window=self.window == "inside W",
            mode=self.mode,
            refund_settled=self.fact is PaymentFact.DISPUTE and self.state in NO_TICKET,
        )

    @property
    def end(self) -> BookingState:
        """The state in which the booking stands once it has gone on by itself."""
        decision = self.decision
        if decision.becomes is not None:
            return decision.becomes
        if self.fact is PaymentFact.DUPLICATE and self.state in UNDECIDED:
            # The other of the two is the one that confirms.
            return BookingState.CONFIRMED
        return ENDS.get(self.state, STATES[self.state])


CELLS = [
    PolicyCell(*cell)
    for cell in product(
        PaymentMode, STATES, PaymentFact, ("seats free", "seats taken"), ("inside W", "outside W")
    )
]


def unreachable(cell: PolicyCell) -> str | None:
    """Why no call at all leads to the cell; None for one that can be reached."""
    mode, state, fact, seats, window = cell
    if mode is PaymentMode.AUTHORISE:
        if fact is PaymentFact.DISPUTE:
            return "nothing was taken: a promise has nothing that a bank could call back"
        if (state, fact) == ("CONFIRMED", PaymentFact.EXACT):
            return "what confirmed it was taken before"
    if state in OWN_SEATS and (seats, window) != ("seats free", "inside W"):
        return "it still has its seats: nobody else can, and no hold has ended yet"
    if fact is PaymentFact.DUPLICATE:
        return _never_one_too_many(cell)
    if fact is PaymentFact.EXACT and state in NO_TICKET:
        return "it was paid: whatever else is captured is one too many"
    if (state, fact, seats, window) == ("EXPIRED", PaymentFact.DISPUTE, "seats free", "inside W"):
        return "its money comes first and gets the seats again: then it is confirmed"
    if fact is PaymentFact.CANCEL_CONFIRMED and state in PAID:
        return "a page that was paid on is never closed unpaid: who says so is found by reconciling"
    return None


def _never_one_too_many(cell: PolicyCell) -> str | None:
    if cell.state == "CANCELLING":
        return "nothing has confirmed it: each of its payments is the first, and unwanted"
    if cell.state == "EXPIRED" and cell.mode is PaymentMode.AUTHORISE:
        return "a promise that is late gets no seat, so that none is one too many"
    if cell.state == "CANCELLED" and cell.seats == "seats taken":
        return "one that was paid is cancelled with its show, which sells nobody a seat then"
    return None


def reachable(mode: PaymentMode) -> list[PolicyCell]:
    return [cell for cell in CELLS if cell.mode is mode and unreachable(cell) is None]
