"""The sandbox provider behind the payment port; what it answers is checked like user input."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

import httpx2
import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from domain.errors import Conflict, NotFound, Unavailable
from domain.money import Money
from domain.payment import (
    ProviderPayment,
    ProviderPaymentStatus,
    ProviderRefund,
    ProviderSession,
    SessionStatus,
)

CONNECT_SECONDS = 2.0
TOTAL_SECONDS = 5.0
TIMEOUT = httpx2.Timeout(TOTAL_SECONDS, connect=CONNECT_SECONDS)
MAX_ANSWER_BYTES = 1024 * 1024
MAX_RETRY_AFTER_SECONDS = 60

ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


def web_url(value: str) -> str:
    """``value`` if a buyer's browser may be sent there.

    Raises:
        ValueError: it is not an absolute http or https URL of visible ASCII.
    """
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an absolute http or https URL")
    return value


Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
Amount = Annotated[int, Field(ge=0, le=10**12)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
WebUrl = Annotated[str, Field(pattern=r"^[!-~]{1,2048}$"), AfterValidator(web_url)]


class Answer(BaseModel):
    """An answer of the provider: known fields strictly, unknown ones not at all."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class PaymentAnswer(Answer):
    id: Id
    session_id: Id
    reference: Annotated[str, Field(max_length=255)]
    status: ProviderPaymentStatus
    amount: Amount
    currency: Currency
    captured: Amount
    refunded: Amount

    @model_validator(mode="after")
    def adds_up(self) -> Self:
        if not self.refunded <= self.captured <= self.amount:
            raise ValueError("refunded <= captured <= amount does not hold")
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


Shape = TypeVar("Shape", bound=Answer)


class SandboxGateway:
    """:class:`services.gateway.PaymentGateway` over the sandbox's HTTP API.

    Beside what the port names, a call raises :class:`domain.errors.Conflict`
    ``provider_refused`` when the provider says a clear no: asking again the same way is no use.
    """

    def __init__(self, base_url: str, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        # The bare transport: cookies, redirects and auth are not wanted and cost CPU each time.
        self._transport = transport or httpx2.AsyncHTTPTransport(trust_env=False)

    @property
    def name(self) -> str:
        return "sandbox"

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def open_session(
        self, *, key: str, booking_id: str, amount: Money, return_url: str, expires_at: datetime
    ) -> ProviderSession:
        body = {
            "amount": amount.amount,
            "currency": amount.currency,
            "reference": booking_id,
            "return_url": return_url,
            "expires_at": expires_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "mode": "capture",
        }
        answer = await self._call(SessionAnswer, "POST", "/v1/sessions", key=key, body=body)
        asked = (amount.amount, amount.currency, booking_id)
        if (answer.amount, answer.currency, answer.reference) != asked:
            raise unusable("the session is not the one that was asked for")
        return answer.as_session()

    async def read_session(self, session_id: str) -> ProviderSession:
        path = f"/v1/sessions/{checked_id(session_id)}"
        return self._same_session(session_id, await self._call(SessionAnswer, "GET", path))

    async def expire_session(self, session_id: str, *, key: str) -> ProviderSession:
        # `key` is not sent: expiring is harmless to repeat by nature, and the provider would
        # replay the first answer to a key, hiding a payment that has come in since.
        path = f"/v1/sessions/{checked_id(session_id)}/expire"
        return self._same_session(session_id, await self._call(SessionAnswer, "POST", path))

    async def read_payment(self, reference: str) -> ProviderPayment:
        path = f"/v1/payments/{checked_id(reference)}"
        answer = await self._call(PaymentAnswer, "GET", path)
        if answer.id != reference:
            raise unusable("the payment is not the one that was asked for")
        return answer.as_payment()

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

    async def read_refund(self, reference: str) -> ProviderRefund:
        path = f"/v1/refunds/{checked_id(reference)}"
        answer = await self._call(RefundAnswer, "GET", path)
        if answer.id != reference:
            raise unusable("the refund is not the one that was asked for")
        return ProviderRefund(reference=answer.id, status=answer.status)

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
            method,
            self._base_url + path,
            headers=headers,
            content=content,
            extensions={"timeout": TIMEOUT.as_dict()},
        )
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                answer, received = await self._exchange(request)
        except (httpx2.HTTPError, TimeoutError) as error:
            raise unusable(f"no answer ({type(error).__name__})") from error
        return understand(shape, answer, received)

    async def _exchange(self, request: httpx2.Request) -> tuple[httpx2.Response, bytes]:
        answer = await self._transport.handle_async_request(request)
        try:
            received = bytearray()
            async for chunk in answer.aiter_bytes():
                received += chunk
                if len(received) > MAX_ANSWER_BYTES:
                    raise unusable("the answer is too long")
            return answer, bytes(received)
        finally:
            await answer.aclose()


def understand(shape: type[Shape], answer: httpx2.Response, body: bytes) -> Shape:
    """The body as ``shape``.

    Raises:
        NotFound: the provider says so itself, in JSON.
        Conflict: ``provider_refused``.
        Unavailable: anything that is not an answer the provider documents.
    """
    status = answer.status_code
    if status == 429 or status >= 500 or 300 <= status < 400:
        raise unusable(f"it answered {status}", retry_after=retry_after(answer))
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise unusable("the answer is not JSON")
    if status == 404:
        raise NotFound("The payment provider knows no such thing.")
    if status >= 400:
        raise Conflict(
            f"The payment provider refused with {status}.",
            code="provider_refused",
            provider_code=error_code(body),
        )
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        raise unusable("the answer is not what it documents") from error


def checked_id(value: str) -> str:
    """``value`` if it can be an id of the provider, and so a part of a path.

    Raises:
        NotFound: it cannot, so the provider knows no such thing.
    """
    if not ID.fullmatch(value):
        raise NotFound("The payment provider knows no such thing.")
    return value


def error_code(body: bytes) -> str | None:
    """The provider's name for a refusal, where it gives a readable one."""
    try:
        code = orjson.loads(body)["error"]["code"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return code if isinstance(code, str) and ID.fullmatch(code) else None


def retry_after(answer: httpx2.Response) -> int:
    """The wait the provider asks for, in seconds, within reason."""
    asked = answer.headers.get("retry-after", "")
    if asked.isascii() and asked.isdigit():
        return min(max(int(asked[:6]), 1), MAX_RETRY_AFTER_SECONDS)
    return 2


def unusable(what: str, *, retry_after: int = 2) -> Unavailable:
    return Unavailable(f"The payment provider is not usable: {what}.", retry_after=retry_after)
