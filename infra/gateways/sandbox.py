"""The sandbox provider behind the payment port; what it answers is checked like user input."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlencode

import httpx2
import orjson
from pydantic import AwareDatetime, Field, model_validator

from domain.errors import Conflict
from domain.money import Money
from domain.payment import (
    DisputeStatus,
    PaymentPage,
    ProviderDispute,
    ProviderPayment,
    ProviderPaymentStatus,
    ProviderRefund,
    ProviderSession,
    SessionStatus,
)
from domain.payment_policy import PaymentMode
from infra.gateways.wire import (
    TIMEOUTS,
    Amount,
    Answer,
    Id,
    Shape,
    WebUrl,
    checked_id,
    ended_before,
    exchange,
    require_success,
    understand,
    unusable,
)
from infra.transport import bare_transport
from services.gateway import Abilities

Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class DisputeAnswer(Answer):
    id: Id
    status: Literal["open", "won", "lost"]
    amount: Annotated[int, Field(gt=0, le=10**12)]
    currency: Currency

    def as_dispute(self) -> ProviderDispute:
        status, amount = DisputeStatus(self.status), Money(self.amount, self.currency)
        return ProviderDispute(self.id, status, amount)


class PaymentAnswer(Answer):
    id: Id
    session_id: Id
    reference: Annotated[str, Field(max_length=255)]
    status: ProviderPaymentStatus
    amount: Amount
    currency: Currency
    captured: Amount
    refunded: Amount
    fee: Amount = 0
    disputes: list[DisputeAnswer] = Field(default_factory=list, max_length=100)

    @model_validator(mode="after")
    def adds_up(self) -> Self:
        if not max(self.refunded, self.fee) <= self.captured <= self.amount:
            raise ValueError("refunded, fee <= captured <= amount does not hold")
        return self

    def as_payment(self) -> ProviderPayment:
        return ProviderPayment(
            reference=self.id,
            session_id=self.session_id,
            booking_reference=self.reference,
            status=self.status,
            amount=Money(self.amount, self.currency),
            captured=self.captured,
            refunded=self.refunded,
            disputes=tuple(one.as_dispute() for one in self.disputes),
            fee=self.fee,
        )


class SessionAnswer(Answer):
    id: Id
    status: SessionStatus
    amount: Amount
    currency: Currency
    reference: Annotated[str, Field(max_length=255)]
    url: WebUrl
    expires_at: AwareDatetime
    payments: Annotated[list[PaymentAnswer], Field(max_length=1000)]

    def as_session(self) -> ProviderSession:
        return ProviderSession(
            session_id=self.id,
            status=self.status,
            checkout_url=self.url,
            expires_at=self.expires_at.astimezone(UTC),
            payments=tuple(payment.as_payment() for payment in self.payments),
        )


class RefundAnswer(Answer):
    id: Id
    payment_id: Id
    amount: Amount
    currency: Currency
    status: Literal["pending", "succeeded", "failed"]


class PaymentList(Answer):
    items: Annotated[list[PaymentAnswer], Field(max_length=1000)]
    next: Annotated[str, Field(pattern=r"^[0-9]{1,20}$")] | None


class ListedRefund(RefundAnswer):
    idempotency_key: Annotated[str, Field(max_length=255)] | None


class RefundList(Answer):
    items: Annotated[list[ListedRefund], Field(max_length=1000)]


ABILITIES = Abilities(can_void=True, min_session_seconds=0, manual_capture=True)


class SandboxGateway:
    """:class:`services.gateway.PaymentGateway` over the sandbox's HTTP API.

    Beside what the port names, a call raises :class:`domain.errors.Conflict`
    ``provider_refused`` when the provider says a clear no: asking again the same way is no use.
    """

    def __init__(self, base_url: str, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._transport = transport or bare_transport()

    @property
    def name(self) -> str:
        return "sandbox"

    @property
    def abilities(self) -> Abilities:
        return ABILITIES

    async def aclose(self) -> None:
        await self._transport.aclose()

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
        body = {
            "amount": amount.amount,
            "currency": amount.currency,
            "reference": booking_id,
            "return_url": return_url,
            "expires_at": expires_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "mode": mode.value,
        }
        answer = await self._call(SessionAnswer, "POST", "/v1/sessions", key=key, body=body)
        asked = (amount.amount, amount.currency, booking_id)
        if (answer.amount, answer.currency, answer.reference) != asked:
            raise unusable("the session is not the one that was asked for")
        return answer.as_session()

    async def read_session(self, session_id: str) -> ProviderSession:
        path = f"/v1/sessions/{checked_id(session_id)}"
        return self._same_session(session_id, await self._call(SessionAnswer, "GET", path))

    async def expire_session(self, session_id: str) -> ProviderSession:
        path = f"/v1/sessions/{checked_id(session_id)}/expire"
        return self._same_session(session_id, await self._call(SessionAnswer, "POST", path))

    async def read_payment(self, reference: str) -> ProviderPayment:
        path = f"/v1/payments/{checked_id(reference)}"
        answer = await self._call(PaymentAnswer, "GET", path)
        if answer.id != reference:
            raise unusable("the payment is not the one that was asked for")
        return answer.as_payment()

    async def capture(self, reference: str, *, key: str) -> ProviderPayment:
        return await self._end(reference, "capture", key)

    async def void(self, reference: str, *, key: str) -> ProviderPayment:
        return await self._end(reference, "void", key)

    async def refund(self, reference: str, *, key: str, amount: Money) -> ProviderRefund:
        body = {
            "payment_id": checked_id(reference),
            "amount": amount.amount,
            "currency": amount.currency,
        }
        answer = await self._call(RefundAnswer, "POST", "/v1/refunds", key=key, body=body)
        asked = (reference, amount.amount, amount.currency)
        if (answer.payment_id, answer.amount, answer.currency) != asked:
            raise unusable("the refund is not the one that was asked for")
        return ProviderRefund(reference=answer.id, status=answer.status)

    async def session_id_of(self, event: Mapping[str, Any]) -> str | None:
        data = event.get("data")
        session_id = data.get("session_id") if isinstance(data, dict) else None
        return session_id if isinstance(session_id, str) else None

    def says_captured(self, event: Mapping[str, Any]) -> bool:
        return event.get("type") == "payment.captured"

    def is_about_money(self, event: Mapping[str, Any]) -> bool:
        return True

    async def read_refund(self, reference: str) -> ProviderRefund:
        path = f"/v1/refunds/{checked_id(reference)}"
        answer = await self._call(RefundAnswer, "GET", path)
        if answer.id != reference:
            raise unusable("the refund is not the one that was asked for")
        return ProviderRefund(reference=answer.id, status=answer.status)

    async def list_payments(self, since: datetime, cursor: str | None = None) -> PaymentPage:
        query = {"since": since.astimezone(UTC).isoformat().replace("+00:00", "Z")}
        if cursor is not None:
            query["cursor"] = cursor
        answer = await self._call(PaymentList, "GET", f"/v1/payments?{urlencode(query)}")
        payments = tuple(payment.as_payment() for payment in answer.items)
        return PaymentPage(payments, answer.next)

    async def list_refunds(self, reference: str) -> list[ProviderRefund]:
        path = f"/v1/refunds?payment_id={checked_id(reference)}"
        answer = await self._call(RefundList, "GET", path)
        if any(refund.payment_id != reference for refund in answer.items):
            raise unusable("the refunds are not of the payment that was asked for")
        return [
            ProviderRefund(
                refund.id,
                refund.status,
                Money(refund.amount, refund.currency),
                refund.idempotency_key,
            )
            for refund in answer.items
        ]

    async def _end(self, reference: str, how: str, key: str) -> ProviderPayment:
        """End an authorisation; where that is refused, it may have ended before."""
        path = f"/v1/payments/{checked_id(reference)}/{how}"
        try:
            answer = await self._call(PaymentAnswer, "POST", path, key=key)
        except Conflict:
            return ended_before(await self.read_payment(reference), how)
        if answer.id != reference:
            raise unusable("the payment is not the one that was asked for")
        return answer.as_payment()

    def _same_session(self, session_id: str, answer: SessionAnswer) -> ProviderSession:
        foreign = any(payment.session_id != answer.id for payment in answer.payments)
        if answer.id != session_id or foreign:
            raise unusable("the session is not the one that was asked for")
        return answer.as_session()

    async def _call(
        self,
        shape: type[Shape],
        method: str,
        path: str,
        *,
        key: str | None = None,
        body: dict[str, Any] | None = None,
    ) -> Shape:
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        if key is not None:
            headers["idempotency-key"] = key
        content = None
        if body is not None:
            headers["content-type"] = "application/json"
            content = orjson.dumps(body)
        request = httpx2.Request(
            method, self._base_url + path, headers=headers, content=content, extensions=TIMEOUTS
        )
        answer, received = await exchange(self._transport, request)
        require_success(answer, received)
        return understand(shape, received)
