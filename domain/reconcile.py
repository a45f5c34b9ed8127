"""Our books against a provider's list: how far back to look, and what differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from domain.payment import (
    DisputeStatus,
    ProviderDispute,
    ProviderPayment,
    ProviderPaymentStatus,
    ProviderRefund,
)
from domain.payment_status import PaymentStatus, rank

# Two runs look at this much together: clocks differ, and a list may lag behind its payments.
OVERLAP = timedelta(minutes=15)
AT_START = timedelta(hours=72)
AT_MOST = timedelta(days=30)
assert timedelta(0) < OVERLAP < AT_START < AT_MOST


@dataclass(frozen=True, slots=True)
class Booked:
    """What we have of one payment; all sums in minor units of ``currency``.

    ``told_refunded`` is what the provider said before, ``settled`` what our refunds come to,
    ``unasked`` what went back without them; the ``posted`` ones are what the ledger has.
    ``disputes`` are the provider's id and the status of each that is on record.
    """

    id: UUID
    booking_id: UUID
    reference: str
    status: str
    currency: str
    captured: int
    told_refunded: int
    is_decided: bool
    settled: int
    posted_captured: int
    posted_refunded: int
    fee: int = 0
    posted_fee: int = 0
    unasked: int = 0
    updated_at: datetime | None = None
    disputes: Sequence[Sequence[str]] = ()


@dataclass(frozen=True, slots=True)
class BookedRefund:
    """A row of ``refunds``; ``failed`` are the provider's ids of tries that failed.

    ``stands``: its sum is the buyer's, sent or owed; not so of one that was withdrawn.
    """

    id: UUID
    booking_id: UUID
    provider_payment_id: UUID
    number: int | None
    status: str
    amount: int
    currency: str
    reference: str | None
    failed: Sequence[str]
    idempotency_key: str
    stands: bool = True

    def is_told_by(self, told: ProviderRefund) -> bool:
        """By its id, or by the key that any of its tries had."""
        if told.reference == self.reference or told.reference in self.failed:
            return True
        return told.key is not None and _base(told.key) == _base(self.idempotency_key)

    def is_now(self, told: ProviderRefund) -> bool:
        """It is the try that counts, not one that failed before it."""
        if self.reference is not None:
            return told.reference == self.reference
        return told.key == self.idempotency_key


class Difference(StrEnum):
    """``missing`` to ``undecided`` mend themselves when the payment is recorded again."""

    MISSING = "missing"
    BEHIND = "behind"
    UNDECIDED = "undecided"
    REFUNDS = "refunds"
    CURRENCY = "currency"
    CAPTURED = "captured"
    LEDGER = "ledger"

    @property
    def is_news(self) -> bool:
        """The provider knows more than we do, as it does before a webhook comes."""
        return self in (Difference.MISSING, Difference.BEHIND, Difference.UNDECIDED)


def since_when(now: datetime, watermark: datetime | None) -> datetime:
    """From when on to list: everything before ``watermark`` was compared (None: nothing yet)."""
    if watermark is None:
        return now - AT_START
    return max(watermark - OVERLAP, now - AT_MOST)


def compare(theirs: ProviderPayment, ours: Booked | None) -> tuple[Difference, ...]:
    """What differs, to the unit; nothing for a payment that never moved money and is not ours."""
    if ours is None:
        return () if _is_nothing(theirs) else (Difference.MISSING,)
    found = {
        Difference.CURRENCY: ours.currency != theirs.amount.currency,
        Difference.BEHIND: _is_behind(theirs, ours),
        Difference.CAPTURED: ours.captured > theirs.captured,
        Difference.UNDECIDED: ours.captured > 0 and not ours.is_decided,
        # Ours may say that more went back than theirs, too: nobody would send the buyer that part.
        Difference.REFUNDS: ours.settled != theirs.refunded or ours.unasked > 0,
        Difference.LEDGER: (ours.posted_captured, ours.posted_refunded, ours.posted_fee)
        != (ours.captured, ours.settled, ours.fee),
    }
    return tuple(difference for difference, holds in found.items() if holds)


def listed(told: Sequence[ProviderRefund]) -> int:
    """What the provider's list says to have gone back, or to be on its way."""
    return sum(one.amount.amount for one in told if one.amount and one.status != "failed")


def is_under_way(
    refunded: int, rows: Sequence[BookedRefund], told: Sequence[ProviderRefund]
) -> bool:
    """Whether the provider's sum is ahead of ours by what it has accepted of us and not settled.

    Some count a refund from then on: no difference until it ends, which may take days.
    """
    waiting = [one for one in told if one.status == "pending"]
    ours = [row for row in rows if row.status == "pending"]
    if not waiting or any(not any(row.is_now(one) for row in ours) for one in waiting):
        return False
    return refunded == listed(told)


def unasked(known: int, rows: Sequence[BookedRefund], told: Sequence[ProviderRefund]) -> int:
    """What of a payment went back without our asking, by the provider's list of its refunds.

    One that nobody asked for may be what a person sent for a refund of ours that had failed, which
    counts as owed, or something else: no list can tell. So what was ``known`` stays as it is
    between the least and the most that the list can mean.
    """
    most = owed = 0
    for one in told:
        if not any(row.is_told_by(one) for row in rows):
            most += listed([one])
    for row in rows:
        sent = listed([one for one in told if row.is_told_by(one)])
        most += max(0, sent - (row.amount if row.stands else 0))
        if row.stands and row.status == "failed":
            owed += max(0, row.amount - sent)
    return min(max(known, most - owed), most)


def _is_nothing(payment: ProviderPayment) -> bool:
    never = (ProviderPaymentStatus.FAILED, ProviderPaymentStatus.VOIDED)
    return payment.captured == 0 and payment.status in never


def _is_behind(theirs: ProviderPayment, ours: Booked) -> bool:
    """A refund of ours that settled is no news, though nobody has read the payment since."""
    known = {reference: DisputeStatus(status) for reference, status in ours.disputes}
    if any(_is_further(one, known.get(one.reference)) for one in theirs.disputes):
        return True
    gave_back = max(ours.told_refunded, ours.settled)
    if ours.captured < theirs.captured or gave_back < theirs.refunded or ours.fee < theirs.fee:
        return True
    status = theirs.status
    if status is ProviderPaymentStatus.REFUNDED and gave_back == theirs.refunded:
        status = ProviderPaymentStatus.CAPTURED
    return _rank(ours.status) < _rank(status)


def _is_further(told: ProviderDispute, known: DisputeStatus | None) -> bool:
    """One that is over on record stays so; another end of it is for a person."""
    match known:
        case None:
            return True
        case DisputeStatus.INQUIRY:
            return told.status is not DisputeStatus.INQUIRY
        case DisputeStatus.OPEN:
            return told.status.is_over
    return False


def _rank(status: str) -> int:
    return rank(PaymentStatus(status))


def _base(key: str) -> str:
    """Each try of a refund has the key of the first with its number behind it."""
    return key.partition("#")[0]
