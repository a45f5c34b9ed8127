"""Money that does not confirm its booking by itself: one workflow for each such payment."""

from __future__ import annotations

from abc import ABC, abstractmethod

from temporalio import activity, workflow

from domain.steps import LateOutcome, LatePaymentInput, LatePaymentResult, OfferAnswer


def late_payment_workflow_id(provider_payment_id: str) -> str:
    return f"late-payment-{provider_payment_id}"


@workflow.defn(name="LatePayment")
class LatePaymentContract(ABC):
    """Late money to its end: the same seats again, other seats that its buyer takes, or a refund.

    Money whose refund is decided already, such as a double payment, is sent back and settled.
    """

    @workflow.run
    @abstractmethod
    async def run(self, input: LatePaymentInput) -> LatePaymentResult: ...

    @workflow.update
    @abstractmethod
    async def answer_offer(self, wish: OfferAnswer) -> LateOutcome:
        """Accept or decline the offered seats; staff give a reason."""
        ...

    @workflow.query
    @abstractmethod
    def stands(self) -> str:
        """Where the payment stands, in plain words."""
        ...


class LateSteps(ABC):
    """The saga's steps on our own rows; each may run twice and changes things once."""

    @activity.defn
    @abstractmethod
    async def settle_late(self, input: LatePaymentInput) -> LateOutcome:
        """Decide: confirm with the same seats, offer others, or send the money back."""
        ...

    @activity.defn
    @abstractmethod
    async def end_offer(self, wish: OfferAnswer) -> LateOutcome:
        """End an offer; one that has ended stays as it is."""
        ...

    @activity.defn
    @abstractmethod
    async def abandon_late(self, input: LatePaymentInput) -> LateOutcome:
        """The undo: no offer stays open, and undecided late money goes back."""
        ...

    @activity.defn
    @abstractmethod
    async def release_offered(self, input: LatePaymentInput) -> None:
        """Take the marks of a closed offer out of Redis; raises while Redis is away."""
        ...


class RefundActivities(ABC):
    @activity.defn
    @abstractmethod
    async def send_refund(self, input: LatePaymentInput) -> LatePaymentResult:
        """Refund at the provider under a fixed key, then record what it said."""
        ...
