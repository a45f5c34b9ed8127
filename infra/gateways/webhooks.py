"""Verifies webhooks signed as Standard Webhooks says; nothing unsigned is ever parsed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from infra.gateways.events import (
    EVENT_ID,
    EVENT_TYPE,
    VerifiedEvent,
    header,
    malformed,
    read_object,
    read_text,
    unsigned,
)

TIMESTAMP = re.compile(r"[1-9][0-9]{0,11}")
SIGNATURES = re.compile(r"[!-~]{1,16},[!-~]{1,512}(?: [!-~]{1,16},[!-~]{1,512}){0,15}")
# 32 bytes have exactly one proper base64 spelling; the library's decoder would take others too.
SIGNATURE = re.compile(r"v1,[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")


class StandardWebhooks:
    """:class:`infra.gateways.events.WebhookVerifier` for Standard Webhooks.

    Raises:
        ValueError: a secret is empty or not base64.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        for secret in secrets:
            verifier(secret)
        self._secrets = tuple(secrets)

    def verify(self, headers: Mapping[str, str], body: bytes) -> VerifiedEvent:
        return verify_webhook(self._secrets, headers, body)


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
    text = read_text(body)
    proper = [one for one in signatures.split(" ") if SIGNATURE.fullmatch(one)]
    signed = {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(proper),
    }
    # Each secret is tried, so that the time it takes does not tell which of them fits.
    fits = [fits_secret(secret, text, signed) for secret in secrets]
    if not any(fits):
        raise unsigned()
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
    event = read_object(body)
    kind, data = event.get("type"), event.get("data")
    if not isinstance(kind, str) or not EVENT_TYPE.fullmatch(kind) or not isinstance(data, dict):
        raise malformed("the body has no type and data")
    # As it came: the sandbox knows no buyer, so its events tell of none.
    return VerifiedEvent(event_id=event_id, event_type=kind, data=data, kept=body)
