"""Verifies webhooks signed as Standard Webhooks says; nothing unsigned is ever parsed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from domain.errors import Invalid, Unauthenticated

EVENT_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
TIMESTAMP = re.compile(r"[1-9][0-9]{0,11}")
SIGNATURES = re.compile(r"[!-~]{1,16},[!-~]{1,512}(?: [!-~]{1,16},[!-~]{1,512}){0,15}")
# 32 bytes have exactly one proper base64 spelling; the library's decoder would take others too.
SIGNATURE = re.compile(r"v1,[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")
EVENT_TYPE = re.compile(r"[!-~]{1,100}")


@dataclass(frozen=True, slots=True)
class VerifiedEvent:
    """What a provider said and signed. ``data`` is as sent: a hint, to be re-read there."""

    event_id: str
    event_type: str
    data: dict[str, Any]


def verify_webhook(
    secrets: Sequence[str], headers: Mapping[str, str], body: bytes
) -> VerifiedEvent:
    """The event in ``body`` if one of ``secrets`` signed it within 300 s of now.

    Several secrets are for rotation. Header names may be in any case.

    Raises:
        Unauthenticated: ``invalid_signature``: no secret fits, or the timestamp is too far off.
        Invalid: ``malformed``: a header is missing or unreadable, the body is not UTF-8, or it is
            well signed but no event.
        ValueError: a secret is empty or not base64: ours to mend, not the sender's.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    event_id = header(lowered, "webhook-id", EVENT_ID)
    timestamp = header(lowered, "webhook-timestamp", TIMESTAMP)
    signatures = header(lowered, "webhook-signature", SIGNATURES)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise malformed("the body is not UTF-8") from error
    proper = [one for one in signatures.split(" ") if SIGNATURE.fullmatch(one)]
    signed = {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(proper),
    }
    # Each secret is tried, so that the time it takes does not tell which of them fits.
    fits = [fits_secret(secret, text, signed) for secret in secrets]
    if not any(fits):
        raise Unauthenticated(
            "The signature does not fit, or its timestamp is too far from now.",
            code="invalid_signature",
        )
    return read_event(event_id, body)


def fits_secret(secret: str, text: str, signed: dict[str, str]) -> bool:
    """Whether ``secret`` signed it, in time that does not depend on how nearly it fits."""
    try:
        verifier(secret).verify(text, signed, json_parse=False)
    except WebhookVerificationError:
        return False
    return True


@lru_cache(maxsize=64)
def verifier(secret: str) -> Webhook:
    """The library's verifier.

    Raises:
        ValueError: the secret is empty or not base64.
    """
    try:
        if key := secret.removeprefix("whsec_"):
            return Webhook(key)
    except ValueError as error:
        raise ValueError("a webhook secret is not base64") from error
    raise ValueError("a webhook secret is empty")


def read_event(event_id: str, body: bytes) -> VerifiedEvent:
    """The event in a body that is known to be signed.

    Raises:
        Invalid: ``malformed``.
    """
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise malformed("the body is not JSON") from error
    if not isinstance(event, dict):
        raise malformed("the body is not a JSON object")
    kind, data = event.get("type"), event.get("data")
    if not isinstance(kind, str) or not EVENT_TYPE.fullmatch(kind) or not isinstance(data, dict):
        raise malformed("the body has no type and data")
    return VerifiedEvent(event_id=event_id, event_type=kind, data=data)


def header(headers: Mapping[str, str], name: str, shape: re.Pattern[str]) -> str:
    """The header's value.

    Raises:
        Invalid: ``malformed``: it is missing or not of that shape.
    """
    value = headers.get(name, "")
    if not shape.fullmatch(value):
        raise malformed(f"the header {name} is missing or unreadable")
    return value


def malformed(what: str) -> Invalid:
    return Invalid(f"Not a webhook: {what}.", code="malformed")
