"""What becomes of a payment fact: the policy's table, as it is printed in docs/money.md."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from domain.booking import BookingState, CloseReason
from domain.money import Money
from domain.payment import Verdict


class PaymentFact(StrEnum):
    """What a provider tells of one payment; the columns of the table, in its order.

    The first three are captures, or authorisations where the seats are confirmed before the
    capture. On a confirmed booking ``exact`` is the payment that confirmed it, no other.
    """

    EXACT = "exact"
    DUPLICATE = "duplicate"
    WRONG_SUM = "wrong_sum"
    CANCEL_CONFIRMED = "cancel_confirmed"
    DISPUTE = "dispute"


class PaymentMode(StrEnum):
    """How the money stands: taken (``capture``), or only promised (``authorise``).

    An authorisation that was captured since is in mode ``capture``: it cannot be voided.
    """

    CAPTURE = "capture"
    AUTHORISE = "authorise"


class MoneyBack(StrEnum):
    """How the whole sum goes back to the buyer."""

    REFUND = "refund"
    VOID = "void"


class Step(StrEnum):
    """What to do; ``expire`` and ``cancel`` release the seats, ``review`` opens a case.

    ``keep`` leaves the fact where it waits until the booking has an outcome. ``dispute`` marks
    the payment and blocks its refund. ``evidence`` answers a dispute with a settled refund.
    """

    NOTHING = "nothing"
    KEEP = "keep"
    CONFIRM = "confirm"
    REINSTATE = "reinstate"
    SEND_BACK = "send_back"
    BACK_TO_HELD = "back_to_held"
    EXPIRE = "expire"
    CANCEL = "cancel"
    DISPUTE = "dispute"
    EVIDENCE = "evidence"
    REVIEW = "review"


@dataclass(frozen=True, slots=True)
class Decision:
    """One cell of the table.

    ``becomes`` is the booking's state afterwards, None where it stays. ``verdict`` is what is
    written at the payment, None where the fact settles no money. ``back`` says how the money
    returns and is set for ``send_back`` only. ``alert`` tells a person at once.
    """

    step: Step
    becomes: BookingState | None = None
    verdict: Verdict | None = None
    back: MoneyBack | None = None
    alert: bool = False


def _send_back(verdict: Verdict, *, alert: bool = False) -> Decision:
    return Decision(Step.SEND_BACK, verdict=verdict, back=MoneyBack.REFUND, alert=alert)


NOTHING = Decision(Step.NOTHING)
KEEP = Decision(Step.KEEP)
REVIEW = Decision(Step.REVIEW)
# P0, P1: on time, whatever the clocks say.
CONFIRM = Decision(Step.CONFIRM, becomes=BookingState.CONFIRMED, verdict=Verdict.CONFIRMS)
# P2: late. It goes back, unless the same seats can be had again.
LATE = _send_back(Verdict.LATE)
REINSTATE = replace(CONFIRM, step=Step.REINSTATE)
# P3: the first that confirms wins, each other goes back.
EXTRA = _send_back(Verdict.DUPLICATE)
# P4, P5: we set the sum, so another one is a bug or tampering: always an alert.
WRONG = _send_back(Verdict.MISMATCH, alert=True)
# P0 step 3 after P4: the page has been used and cannot pay again, so the expiry goes on.
WRONG_END = replace(WRONG, becomes=BookingState.EXPIRED)
# P7: the buyer's wish to cancel wins over the payment.
UNWANTED = _send_back(Verdict.CANCELLED)
# P0 step 3: the provider has closed the page.
REOPEN = Decision(Step.BACK_TO_HELD, becomes=BookingState.HELD)
EXPIRE = Decision(Step.EXPIRE, becomes=BookingState.EXPIRED)
CANCEL = Decision(Step.CANCEL, becomes=BookingState.CANCELLED)
# P9: without a ticket only the payment is disputed: winning must not bring the seats back.
DISPUTE = Decision(Step.DISPUTE)
DISPUTE_TICKET = Decision(Step.DISPUTE, becomes=BookingState.DISPUTED)
EVIDENCE = Decision(Step.EVIDENCE)

_S = BookingState
_SETTLED = (EXTRA, EXTRA, WRONG, NOTHING, EVIDENCE)  # P3, P3, P4-P5, -, P9
# HELD is also the policy's PAYING: a held booking with an open pay page.
_ROWS = {
    # state            exact     duplicate wrong sum  cancelled dispute
    _S.PENDING:        (KEEP,    KEEP,     KEEP,      KEEP,     KEEP),  # no outcome yet
    _S.HELD:           (CONFIRM, EXTRA,    WRONG,     REOPEN,   REVIEW),  # P1 P3 P4-P5 P3 P9
    _S.EXPIRING:       (CONFIRM, EXTRA,    WRONG_END, EXPIRE,   REVIEW),  # P1 P3 P4-P5 P0 P9
    _S.EXPIRED:        (LATE,    EXTRA,    WRONG,     NOTHING,  DISPUTE),  # P2 P2-P3 P4-P5 - P9
    _S.CANCELLING:     (UNWANTED, EXTRA,   WRONG,     CANCEL,   DISPUTE),  # P7 P3 P4-P5 P7 P9
    _S.CANCELLED:      (UNWANTED, EXTRA,   WRONG,     CANCEL,   DISPUTE),  # P2 P3 P4-P5 P7 P9
    _S.REJECTED:       (UNWANTED, EXTRA,   WRONG,     CANCEL,   DISPUTE),  # as CANCELLED
    _S.CONFIRMED:      (NOTHING, EXTRA,    WRONG,     REVIEW,   DISPUTE_TICKET),  # P3-P5 P11 P9
    _S.REFUNDED:       _SETTLED,
    _S.CHARGED_BACK:   _SETTLED,
    _S.REFUND_PENDING: _SETTLED,  # as REFUNDED
    _S.DISPUTED:       _SETTLED,  # as REFUNDED
}  # fmt: skip
TABLE = {state: dict(zip(PaymentFact, row, strict=True)) for state, row in _ROWS.items()}


def decide(
    state: BookingState,
    fact: PaymentFact,
    *,
    seats_free: bool = False,
    in_window: bool = False,
    mode: PaymentMode = PaymentMode.CAPTURE,
    refund_settled: bool = False,
) -> Decision:
    """Decide about one fact of one payment, with the booking under its lock.

    Args:
        seats_free: all the same seats can be claimed again at the held price, the show is on
            sale and the buyer within the limits.
        in_window: the hold ended no longer ago than late money is accepted, by the database clock.
        refund_settled: the disputed payment went back before; then it is never paid back again.
    """
    decision = TABLE[state][fact]
    if decision is LATE and seats_free and in_window and mode is PaymentMode.CAPTURE:  # P2
        return REINSTATE
    if decision.step is Step.DISPUTE and refund_settled:  # P9
        return EVIDENCE
    if decision.back and mode is PaymentMode.AUTHORISE:  # P2: nothing has been taken yet
        return replace(decision, back=MoneyBack.VOID)
    return decision


def end_of(why: CloseReason) -> BookingState:
    """Where a hold ends, once its page is known to be closed unpaid or waited for long enough."""
    end = TABLE[why.closing_state][PaymentFact.CANCEL_CONFIRMED].becomes
    assert end is not None, "a closing booking has an end"
    return end


def capture_fact(
    state: BookingState, *, expected: Money, paid: Money, has_confirming: bool
) -> PaymentFact:
    """Name the column of a payment nobody decided about; ``has_confirming``: another one confirmed.

    A new payment on a confirmed booking is one too many, even where there was nothing to pay.
    """
    if paid != expected:
        return PaymentFact.WRONG_SUM
    if has_confirming or state is BookingState.CONFIRMED:
        return PaymentFact.DUPLICATE
    return PaymentFact.EXACT
