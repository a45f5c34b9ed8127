"""What the sandbox accepts in request bodies; anything else is a 400."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

MAX_AMOUNT = 10**12


def web_url(value: str) -> str:
    """``value`` if a browser may be sent there.

    Raises:
        ValueError: it is not an absolute http or https URL, or holds blanks or controls.
    """
    parts = urlsplit(value)
    visible = value.isascii() and value.isprintable() and " " not in value
    if parts.scheme not in ("http", "https") or not parts.hostname or not visible:
        raise ValueError("must be an absolute http or https URL")
    return value


Amount = Annotated[int, Field(ge=1, le=MAX_AMOUNT)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
WebUrl = Annotated[str, Field(max_length=2048), AfterValidator(web_url)]
Reference = Annotated[str, Field(pattern=r"^[!-~]{1,255}$")]


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NewSession(Shape):
    amount: Amount
    currency: Currency
    reference: Reference
    return_url: WebUrl
    expires_at: AwareDatetime
    mode: Literal["capture", "authorise"] = "capture"


class Nothing(Shape):
    """An empty body."""


class Capture(Shape):
    """How much of an authorised payment to take; all of it when not said."""

    amount: Amount | None = None


class NewRefund(Shape):
    """``currency`` may be left out; when given it must be the payment's."""

    payment_id: Annotated[str, Field(max_length=64)]
    amount: Amount
    currency: Currency | None = None


class Webhooks(Shape):
    """How the events of one scripted act are delivered: ``copies`` times each, after a delay."""

    deliver: bool = True
    delay_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 0
    copies: Annotated[int, Field(ge=1, le=100)] = 1
    shuffle: bool = False


Outcome = Literal["captured", "authorised", "failed", "processing"]


class ScriptedPay(Shape):
    """``amount`` and ``currency`` are what is paid, where it differs from what was asked."""

    outcome: Outcome
    amount: Amount | None = None
    currency: Currency | None = None
    force: bool = False
    webhooks: Webhooks = Webhooks()


class ScriptedDispute(Shape):
    """``opened`` only opens; ``won`` and ``lost`` (for the merchant) open if need be and close.

    ``amount``: what is disputed, where it is not all that was captured and not refunded.
    """

    outcome: Literal["opened", "won", "lost"] = "opened"
    amount: Amount | None = None


class ScriptedSettlement(Shape):
    outcome: Literal["succeeded", "failed"]


class Redelivery(Shape):
    """Which events to send once more; every event when not said."""

    event_ids: Annotated[list[str], Field(max_length=10_000)] | None = None
    shuffle: bool = False
