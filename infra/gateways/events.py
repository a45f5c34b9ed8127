"""What is common to the webhooks of all providers: who verifies them, and what then is known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from domain.errors import Invalid, Unauthenticated

EVENT_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
EVENT_TYPE = re.compile(r"[!-~]{1,100}")


@dataclass(frozen=True, slots=True)
class VerifiedEvent:
    """What a provider said and signed: a hint, to be re-read there.

    ``kept`` is the event for the inbox, a JSON object: what its gateway needs to act on it, and
    nothing that tells of the buyer, for no erasure reaches the inbox. The signature was checked,
    so the bytes as they came are needed no more.

    With ``quarantine``, the reason, it is to be stored for a person and never acted on.
    """

    event_id: str
    event_type: str
    kept: bytes
    quarantine: str | None = None


class WebhookVerifier(Protocol):
    """One provider's way to sign, with the secrets of one mode."""

    def verify(self, headers: Mapping[str, str], body: bytes) -> VerifiedEvent:
        """The event in ``body`` if one of the secrets signed it within 300 s of now.

        Header names may be in any case. Nothing else is ever raised, whatever comes in.

        Raises:
            Unauthenticated: ``invalid_signature``: no secret fits, or the time is too far off.
            Invalid: ``malformed``: a header is missing or unreadable, the body is not UTF-8, or it
                is well signed but no event.
        """
        ...


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body that is known to be signed.

    Raises:
        Invalid: ``malformed``.
    """
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise malformed("the body is not JSON") from error
    if not isinstance(event, dict):
        raise malformed("the body is not a JSON object")
    return event


def read_text(body: bytes) -> str:
    """The body as text.

    Raises:
        Invalid: ``malformed``.
    """
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise malformed("the body is not UTF-8") from error


def header(headers: Mapping[str, str], name: str, shape: re.Pattern[str]) -> str:
    """The value of a header whose names are in lower case.

    Raises:
        Invalid: ``malformed``: it is missing or not of that shape.
    """
    value = headers.get(name, "")
    if not shape.fullmatch(value):
        raise malformed(f"the header {name} is missing or unreadable")
    return value


def malformed(what: str) -> Invalid:
    return Invalid(f"Not a webhook: {what}.", code="malformed")


def unsigned() -> Unauthenticated:
    return Unauthenticated(
        "The signature does not fit, or its timestamp is too far from now.",
        code="invalid_signature",
    )
