"""What every provider's adapter does on the wire: bounded calls, and answers checked as input."""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import httpx2
import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from domain.errors import BalanceTooLow, Conflict, NotFound, Unavailable
from domain.payment import ProviderPayment, ProviderPaymentStatus

CONNECT_SECONDS = 2.0
TOTAL_SECONDS = 5.0
TIMEOUTS = {"timeout": httpx2.Timeout(TOTAL_SECONDS, connect=CONNECT_SECONDS).as_dict()}
MAX_ANSWER_BYTES = 1024 * 1024
MAX_RETRY_AFTER_SECONDS = 60

ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
# The same key came with another wish: what the first one did is not known here.
REUSED_KEY = ("idempotency_key_reused", "idempotency_error")
# By the sandbox, and by Stripe.
LOW_BALANCE = ("insufficient_balance", "balance_insufficient", "insufficient_funds")


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
WebUrl = Annotated[str, Field(pattern=r"^[!-~]{1,2048}$"), AfterValidator(web_url)]


class Answer(BaseModel):
    """An answer of the provider: known fields strictly, unknown ones not at all.

    What does not fit is not repeated in the error: it may name a buyer.
    """

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, hide_input_in_errors=True)


Shape = TypeVar("Shape", bound=Answer)


async def exchange(
    transport: httpx2.AsyncBaseTransport, request: httpx2.Request
) -> tuple[httpx2.Response, bytes]:
    """The answer and its body, within the total time and the longest length.

    Raises:
        Unavailable: there is no such answer.
    """
    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            answer = await transport.handle_async_request(request)
            try:
                return answer, await _read(answer)
            finally:
                await answer.aclose()
    # TLS that breaks after the handshake the library lets through as it is.
    except (httpx2.HTTPError, ssl.SSLError, TimeoutError) as error:
        raise unusable(f"no answer ({type(error).__name__})") from error


async def _read(answer: httpx2.Response) -> bytes:
    received = bytearray()
    async for chunk in answer.aiter_bytes():
        received += chunk
        if len(received) > MAX_ANSWER_BYTES:
            raise unusable("the answer is too long")
    return bytes(received)


def require_success(answer: httpx2.Response, body: bytes) -> None:
    """Return when the answer is a JSON document of success.

    Raises:
        NotFound: the provider says so itself, in JSON.
        Conflict: ``provider_refused``.
        BalanceTooLow: it has too little of our money to give any back.
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
        code = error_field(body, "code")
        if code in REUSED_KEY:
            raise unusable("it knows this key from another request")
        if code in LOW_BALANCE:
            raise BalanceTooLow("The provider's balance is too low.", retry_after=60)
        raise Conflict(
            f"The payment provider refused with {status}.",
            code="provider_refused",
            provider_code=code,
        )


def ended_before(payment: ProviderPayment, how: str) -> ProviderPayment:
    """The payment, if it ended so that a refused ``capture`` or ``void`` of it has its answer.

    Raises:
        Conflict: ``provider_refused``.
    """
    if payment.captured or (how == "void" and payment.status is ProviderPaymentStatus.VOIDED):
        return payment
    raise Conflict(
        f"The payment provider refused to {how} a payment that is {payment.status}.",
        code="provider_refused",
        provider_code=None,
    )


def understand(shape: type[Shape], body: bytes | str) -> Shape:
    """The body as ``shape``.

    Raises:
        Unavailable: it is none.
    """
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


def error_field(body: bytes, name: str) -> str | None:
    """A name in the provider's refusal, such as its ``code``, where it gives a readable one."""
    try:
        value: Any = orjson.loads(body)["error"][name]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return value if isinstance(value, str) and ID.fullmatch(value) else None


def retry_after(answer: httpx2.Response) -> int:
    """The wait the provider asks for, in seconds, within reason."""
    asked = answer.headers.get("retry-after", "")
    if asked.isascii() and asked.isdigit():
        return min(max(int(asked[:6]), 1), MAX_RETRY_AFTER_SECONDS)
    return 2


def unusable(what: str, *, retry_after: int = 2) -> Unavailable:
    return Unavailable(f"The payment provider is not usable: {what}.", retry_after=retry_after)
