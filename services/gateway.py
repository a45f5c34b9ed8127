"""The port to a payment provider; the sandbox is one adapter, Stripe another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from domain.money import Money
from domain.payment import PaymentPage, ProviderPayment, ProviderRefund, ProviderSession
from domain.payment_policy import PaymentMode


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a provider can do, declared by its adapter.

    ``can_void``: authorised money can be let go without a refund. ``manual_capture``: it can
    authorise first and capture later. A deployment's payment mode is held against both.

    ``min_session_seconds``: the shortest life it gives a pay page; our hold may end before, and
    then closes the page. It is for readers and the tests of adapters; nothing is decided by it.
    """

    can_void: bool
    min_session_seconds: int
    manual_capture: bool


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

    @property
    def abilities(self) -> Abilities: ...

    async def open_session(
        self,
        *,
        key: str,
        booking_id: str,
        amount: Money,
        return_url: str,
        expires_at: datetime,
        mode: PaymentMode = PaymentMode.CAPTURE,
    ) -> ProviderSession:
        """Open a pay page; the same ``key`` answers with the same session.

        In mode ``authorise`` paying only promises the money: ``capture`` takes it.

        A repeat must ask for exactly the same: providers refuse a key that comes with another
        wish. The page may live longer than ``expires_at``, never shorter.
        """
        ...

    async def read_session(self, session_id: str) -> ProviderSession: ...

    async def expire_session(self, session_id: str) -> ProviderSession:
        """Close the page for good; a session already paid or expired is returned as it is.

        Without a key: a repeat must tell of money come since, not answer as the first time.

        Raises:
            Conflict: ``provider_refused``: a clear no, which is no word that the page is closed.
        """
        ...

    async def read_payment(self, reference: str) -> ProviderPayment: ...

    async def capture(self, reference: str, *, key: str) -> ProviderPayment:
        """Take all of an authorised payment; one that was taken is returned as it is.

        Raises:
            Conflict: ``provider_refused``: it cannot be taken, now or any more.
        """
        ...

    async def void(self, reference: str, *, key: str) -> ProviderPayment:
        """Let an authorised payment go, with nothing taken.

        One that is voided or was taken already is returned as it is: its status says which.

        Raises:
            Conflict: ``provider_refused``: it is neither, and cannot be let go.
        """
        ...

    async def refund(self, reference: str, *, key: str, amount: Money) -> ProviderRefund:
        """Give ``amount`` back; the same ``key`` never gives it back twice."""
        ...

    async def session_id_of(self, event: Mapping[str, Any]) -> str | None:
        """The session that a webhook's body, read as JSON, is about; None when about none.

        A provider whose events do not always name it is asked.
        """
        ...

    def says_captured(self, event: Mapping[str, Any]) -> bool:
        """Whether a webhook's body, read as JSON, claims that its session was paid for good."""
        ...

    def is_about_money(self, event: Mapping[str, Any]) -> bool:
        """Whether a webhook's body, read as JSON, may tell of a buyer's money, known to us or not.

        False for what a provider sends of other things, such as its own payouts to us.
        """
        ...

    async def read_refund(self, reference: str) -> ProviderRefund:
        """A refund by the id that ``refund`` answered with: how it stands now."""
        ...

    async def list_payments(self, since: datetime, cursor: str | None = None) -> PaymentPage:
        """Payments changed since a moment, a page at a time, oldest first where it can.

        A change during the listing is on a later page, or in the list of the next moment. A
        provider that lists by creation goes back as far as a pay page lives. ``session_id`` is
        empty where the list does not name it.
        """
        ...

    async def list_refunds(self, reference: str) -> Sequence[ProviderRefund]:
        """Every refund of a payment, also those that nobody asked for through us."""
        ...
