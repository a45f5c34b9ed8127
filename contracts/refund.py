"""Refunds that somebody asked for: one workflow for each, by its booking and number."""

from __future__ import annotations

from abc import ABC, abstractmethod

from temporalio import activity, workflow

from domain.steps import RefundInput, RefundResult

INSUFFICIENT_BALANCE = "insufficient_balance"
"""Type of the error of a refund that waits: the provider's balance is too low for it."""


def refund_workflow_id(booking_id: str, number: int) -> str:
    return f"refund-{booking_id}-{number}"


@workflow.defn(name="Refund")
class RefundContract(ABC):
    """Send a refund that was reserved in PostgreSQL, and see it settled."""

    @workflow.run
    @abstractmethod
    async def run(self, input: RefundInput) -> RefundResult: ...

    @workflow.signal
    @abstractmethod
    def ask_again(self) -> None:
        """Do not wait any longer for the provider's balance; carries no authority over money."""
        ...


class RefundSteps(ABC):
    """Each step may run twice and changes things once."""

    @activity.defn
    @abstractmethod
    async def ask_refund(self, input: RefundInput) -> None:
        """Ask the provider for every part; each it accepts is recorded, and the seats go free.

        A clear no of the provider ends it: whatever was not accepted is left pending. A balance
        that is too low is none: it ends this try with ``INSUFFICIENT_BALANCE``.
        """
        ...

    @activity.defn
    @abstractmethod
    async def withdraw_refund(self, input: RefundInput) -> None:
        """The undo: parts that the provider never accepted have failed, their seats stay sold."""
        ...

    @activity.defn
    @abstractmethod
    async def settle_refund(self, input: RefundInput) -> RefundResult:
        """Record how the accepted parts ended; raises while the provider has not settled one."""
        ...

    @activity.defn
    @abstractmethod
    async def release_refunded(self, input: RefundInput) -> None:
        """Take the marks of the seats that went free out of Redis; raises while it is away."""
        ...
