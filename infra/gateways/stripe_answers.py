"""Stripe's answers, checked like user input, and what they mean in the port's words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from domain.errors import Conflict
from domain.money import MINOR_DIGITS, Money
from domain.payment import (
    DisputeStatus,
    ProviderDispute,
    ProviderPayment,
    ProviderPaymentStatus,
    ProviderRefund,
    ProviderSession,
    SessionStatus,
)
from infra.gateways.wire import Amount, Answer, Id, WebUrl, unusable

# Stripe counts like ISO 4217 (JPY in whole yen, KWD in thousandths) but for these three.
DIGITS_AT_STRIPE = {"ISK": 2, "UGX": 2, "MGA": 0}

# Under this name a refund at Stripe carries the key it was asked for under.
REFUND_KEY = "refund_key"

Currency = Annotated[str, Field(pattern=r"^[a-z]{3}$")]


def to_stripe(money: Money) -> int:
    """Minor units as Stripe counts them.

    Raises:
        Conflict: ``provider_refused``: the amount is finer than Stripe can charge.
    """
    shift = _shift(money.currency)
    if shift >= 0:
        return int(money.amount * 10**shift)
    amount, rest = divmod(money.amount, 10**-shift)
    if rest:
        raise Conflict(
            f"Stripe takes no fractions of {money.currency}.",
            code="provider_refused",
            provider_code="invalid_amount",
        )
    return int(amount)


def from_stripe(amount: int, currency: str) -> Money:
    """What Stripe says, in our minor units.

    Raises:
        Unavailable: it is a fraction of a unit that has none.
    """
    code = currency.upper()
    shift = _shift(code)
    ours, rest = divmod(amount, 10**shift) if shift >= 0 else (amount * 10**-shift, 0)
    if rest:
        raise unusable(f"the amount is a fraction of {code}")
    return Money(int(ours), code)


def _shift(currency: str) -> int:
    ours = MINOR_DIGITS.get(currency, 2)
    return DIGITS_AT_STRIPE.get(currency, ours) - ours


class TransactionAnswer(Answer):
    """What a charge did to our balance; there as soon as the money is."""

    fee: Annotated[int, Field(ge=-(10**12), le=10**12)]
    currency: Currency


class ChargeAnswer(Answer):
    id: Id
    status: Literal["succeeded", "pending", "failed"]
    amount_captured: Amount
    amount_refunded: Amount
    disputed: bool = False
    balance_transaction: TransactionAnswer | Id | None = None

    def fee(self, currency: str) -> int:
        """Our minor units, a started one counts whole; 0 where it is not told in ``currency``.

        A balance in another currency has its fee in that one, which this payment's books have not.
        """
        told = self.balance_transaction
        if not isinstance(told, TransactionAnswer) or told.currency != currency:
            return 0
        shift = _shift(currency.upper())
        fee = -(-told.fee // 10**shift) if shift >= 0 else told.fee * 10**-shift
        return max(0, int(fee))


# Stripe's own words for an inquiry begin with `warning_`; `prevented` never withdrew anything.
DISPUTES = {
    "warning_needs_response": DisputeStatus.INQUIRY,
    "warning_under_review": DisputeStatus.INQUIRY,
    "warning_closed": DisputeStatus.INQUIRY,
    "prevented": DisputeStatus.INQUIRY,
    "needs_response": DisputeStatus.OPEN,
    "under_review": DisputeStatus.OPEN,
    # Lost once and disputed by us: the money is still with the bank.
    "appeal_needs_response": DisputeStatus.OPEN,
    "appeal_under_review": DisputeStatus.OPEN,
    "won": DisputeStatus.WON,
    "lost": DisputeStatus.LOST,
}


class DisputeAnswer(Answer):
    id: Id
    payment_intent: Id
    amount: Annotated[int, Field(gt=0, le=10**12)]
    currency: Currency
    status: Literal[
        "warning_needs_response",
        "warning_under_review",
        "warning_closed",
        "prevented",
        "needs_response",
        "under_review",
        "appeal_needs_response",
        "appeal_under_review",
        "won",
        "lost",
    ]

    def as_dispute(self) -> ProviderDispute:
        amount = from_stripe(self.amount, self.currency)
        return ProviderDispute(self.id, DISPUTES[self.status], amount)


class DisputeList(Answer):
    data: Annotated[list[DisputeAnswer], Field(max_length=100)]


class IntentAnswer(Answer):
    """A PaymentIntent with its last charge: only that one can have succeeded."""

    id: Id
    status: Literal[
        "requires_payment_method",
        "requires_confirmation",
        "requires_action",
        "processing",
        "requires_capture",
        "canceled",
        "succeeded",
    ]
    amount: Amount
    currency: Currency
    latest_charge: ChargeAnswer | None
    last_payment_error: dict[str, Any] | None
    metadata: dict[str, str]

    def as_payment(self, session_id: str) -> ProviderPayment | None:
        """None when nobody has tried to pay yet."""
        status = self._status()
        if status is None:
            return None
        captured = refunded = fee = 0
        amount = from_stripe(self.amount, self.currency)
        if self.status == "succeeded":
            charge = self._captured_charge()
            # What was paid, not what was asked: part of an authorised amount can be captured.
            amount = from_stripe(charge.amount_captured, self.currency)
            captured = amount.amount
            refunded = from_stripe(charge.amount_refunded, self.currency).amount
            fee = charge.fee(self.currency)
        return ProviderPayment(
            reference=self.id,
            session_id=session_id,
            booking_reference=self.metadata.get("booking_id", ""),
            status=status,
            amount=amount,
            captured=captured,
            refunded=refunded,
            fee=fee,
        )

    @property
    def is_disputed(self) -> bool:
        return self.latest_charge is not None and self.latest_charge.disputed

    def _status(self) -> ProviderPaymentStatus | None:
        match self.status:
            case "succeeded":
                charge = self._captured_charge()
                if charge.amount_refunded == charge.amount_captured:
                    return ProviderPaymentStatus.REFUNDED
                return ProviderPaymentStatus.CAPTURED
            case "processing":
                return ProviderPaymentStatus.PROCESSING
            case "requires_capture":
                return ProviderPaymentStatus.AUTHORISED
            case "canceled" if self.latest_charge and self.latest_charge.status != "failed":
                return ProviderPaymentStatus.VOIDED
        tried = self.latest_charge is not None or self.last_payment_error is not None
        return ProviderPaymentStatus.FAILED if tried else None

    def _captured_charge(self) -> ChargeAnswer:
        charge = self.latest_charge
        if charge is None or not 0 < charge.amount_captured >= charge.amount_refunded:
            raise unusable("a payment that succeeded has no sound charge")
        return charge


class IntentList(Answer):
    data: Annotated[list[IntentAnswer], Field(max_length=100)]
    has_more: bool


class ChangeAnswer(Answer):
    """A dispute or a refund in the list of all; what others took may be of no PaymentIntent."""

    id: Id
    payment_intent: IntentAnswer | None


class ChangeList(Answer):
    data: Annotated[list[ChangeAnswer], Field(max_length=100)]
    has_more: bool

    @property
    def intents(self) -> list[IntentAnswer]:
        """Each once, however many changes it has."""
        found = (one.payment_intent for one in self.data)
        return list({intent.id: intent for intent in found if intent}.values())


class FailedRefund(Answer):
    payment_intent: Id | None


class EventData(Answer):
    object: FailedRefund


class EventAnswer(Answer):
    id: Id
    data: EventData


class EventList(Answer):
    """Events of refunds; what others gave back may be of no PaymentIntent."""

    data: Annotated[list[EventAnswer], Field(max_length=100)]
    has_more: bool

    @property
    def payments(self) -> list[str]:
        """Each once, however many of its refunds failed."""
        named = (event.data.object.payment_intent for event in self.data)
        return list(dict.fromkeys(id_ for id_ in named if id_))


class SessionAnswer(Answer):
    """A Checkout Session; ``payment_intent`` is expanded, or an id where that was not asked."""

    id: Id
    status: Literal["open", "complete", "expired"]
    payment_status: Literal["paid", "unpaid", "no_payment_required"]
    amount_total: Amount | None
    currency: Currency | None
    client_reference_id: Annotated[str, Field(max_length=255)] | None
    url: WebUrl | None
    expires_at: Annotated[int, Field(ge=0, le=10**11)]
    payment_intent: IntentAnswer | Id | None

    @property
    def intent(self) -> IntentAnswer | None:
        return self.payment_intent if isinstance(self.payment_intent, IntentAnswer) else None

    def as_session(self) -> ProviderSession:
        """``checkout_url`` is empty once the page is closed."""
        payment = self.intent.as_payment(self.id) if self.intent else None
        return ProviderSession(
            session_id=self.id,
            status=self._status(),
            checkout_url=self.url or "",
            expires_at=datetime.fromtimestamp(self.expires_at, UTC),
            payments=(payment,) if payment else (),
        )

    def _status(self) -> SessionStatus:
        if self.status != "complete":
            return SessionStatus(self.status)
        if self.payment_status != "unpaid":
            return SessionStatus.PAID
        match self.intent.status if self.intent else "processing":
            case "processing":
                return SessionStatus.PROCESSING
            case "requires_capture" | "succeeded":
                return SessionStatus.PAID
        # The buyer was done, then the bank said no: the page will not take money again.
        return SessionStatus.EXPIRED


class SessionOfIntent(Answer):
    id: Id


class SessionList(Answer):
    data: Annotated[list[SessionOfIntent], Field(max_length=100)]


class RefundAnswer(Answer):
    id: Id
    payment_intent: Id
    amount: Amount
    currency: Currency
    status: Literal["pending", "requires_action", "succeeded", "failed", "canceled"]
    metadata: dict[str, str] | None = None

    def as_refund(self) -> ProviderRefund:
        key = (self.metadata or {}).get(REFUND_KEY)
        return ProviderRefund(self.id, self.outcome, from_stripe(self.amount, self.currency), key)

    @property
    def outcome(self) -> str:
        """In the port's words; one that waits for the buyer's bank details is pending."""
        match self.status:
            case "succeeded":
                return "succeeded"
            case "failed" | "canceled":
                return "failed"
        return "pending"


class RefundList(Answer):
    data: Annotated[list[RefundAnswer], Field(max_length=100)]
    has_more: bool
