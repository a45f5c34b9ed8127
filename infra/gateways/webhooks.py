"""Verifies webhooks signed as Standard Webhooks says; nothing unsigned is ever parsed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

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

    Several secrets are for rotation.

    Raises:
        ValueError: a secret is empty or not base64.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._verifiers = [verifier(secret) for secret in secrets]

    def verify(self, headers: Mapping[str, str], body: bytes) -> VerifiedEvent:
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
        fits = [fits_secret(verifier, text, signed) for verifier in self._verifiers]
        if not any(fits):
            raise unsigned()
        return read_event(event_id, body)


def fits_secret(verifier: Webhook, text: str, signed: dict[str, str]) -> bool:
    """Whether its secret signed it, in time that does not depend on how nearly it fits."""
    try:
        verifier.verify(text, signed, json_parse=False)
    except WebhookVerificationError:
        return False
    return True


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
    return VerifiedEvent(event_id=event_id, event_type=kind, kept=body)
