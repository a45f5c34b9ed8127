"""The port to a payment provider; the sandbox is one adapter, Stripe will be another."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from domain.money import Money
from domain.payment import ProviderPayment, ProviderRefund, ProviderSession


class PaymentGateway(Protocol):
    """A payment provider. Every method may be repeated with the same arguments.

    Each raises :class:`domain.errors.Unavailable` when the outcome is not known (time-out, 5xx,
    429, an answer that is not what the provider documents) and
    :class:`domain.errors.NotFound` when the provider knows no such thing.
    """

    @property
    def name(self) -> str:
        """The name in paths and rows, such as ``sandbox``."""
        ...

    async def open_session(
        self, *, key: str, booking_id: str, amount: Money, return_url: str, expires_at: datetime
    ) -> ProviderSession:
        """Open a pay page; the same ``key`` answers with the same session."""
        ...

    async def read_session(self, session_id: str) -> ProviderSession: ...

    async def expire_session(self, session_id: str, *, key: str) -> ProviderSession:
        """Close the page for good; a session already paid or expired is returned as it is."""
        ...

    async def read_payment(self, reference: str) -> ProviderPayment: ...

    async def refund(self, reference: str, *, key: str, amount: Money) -> ProviderRefund:
        """Give ``amount`` back; the same ``key`` never gives it back twice."""
        ...

    async def read_refund(self, reference: str) -> ProviderRefund:
        """A refund by the id that ``refund`` answered with: how it stands now."""
        ...
