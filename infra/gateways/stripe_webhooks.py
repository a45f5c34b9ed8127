"""Verifies webhooks signed as Stripe does; nothing unsigned is ever parsed."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import stripe

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

TOLERANCE_SECONDS = 300
# One time, then signatures; ASCII throughout, for the library compares them as text.
SIGNATURE = re.compile(r"t=([1-9][0-9]{0,11})(?:,(?!t=)[a-z0-9]{1,8}=[A-Za-z0-9+/_-]{1,512}){1,16}")

# All that is stored of an event: what names the page or the payment, and what a person who looks
# into a quarantined one asks for. A list of what goes, not of what stays out: Stripe adds fields.
KEPT_OF_EVENT = ("id", "object", "type", "created", "livemode", "api_version")
KEPT_OF_THING = (
    "id",
    "object",
    "status",
    "payment_status",
    "payment_intent",
    "charge",
    "amount",
    "amount_total",
    "amount_captured",
    "amount_refunded",
    "currency",
)
# Ids, codes and dates of API versions; a name or an address has spaces or an @.
PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,255}")


class StripeWebhooks:
    """:class:`infra.gateways.events.WebhookVerifier` for Stripe, in one mode.

    An event of the other mode is to be quarantined: it speaks of other money.

    Raises:
        ValueError: a secret is blank.
    """

    def __init__(self, secrets: Sequence[str], *, live: bool) -> None:
        if not all(secret.strip() for secret in secrets):
            raise ValueError("a webhook secret is empty")
        self._secrets = tuple(secrets)
        self._live = live

    def verify(self, headers: Mapping[str, str], body: bytes) -> VerifiedEvent:
        lowered = {name.lower(): value for name, value in headers.items()}
        signature = header(lowered, "stripe-signature", SIGNATURE)
        text = read_text(body)
        # Each secret is tried, so that the time it takes does not tell which of them fits.
        fits = [_fits(secret, text, signature) for secret in self._secrets]
        if not any(fits) or _is_ahead(signature):
            raise unsigned()
        return self._read(body)

    def _read(self, body: bytes) -> VerifiedEvent:
        event = read_object(body)
        event_id, kind, live = event.get("id"), event.get("type"), event.get("livemode")
        data = event.get("data")
        if not isinstance(event_id, str) or not EVENT_ID.fullmatch(event_id):
            raise malformed("the body has no id")
        if not isinstance(kind, str) or not EVENT_TYPE.fullmatch(kind):
            raise malformed("the body has no type")
        if not isinstance(live, bool) or not isinstance(data, dict):
            raise malformed("the body has no livemode and data")
        reason = None
        if live != self._live:
            reason = "a live event in test mode" if live else "a test-mode event in live mode"
        return VerifiedEvent(event_id, kind, kept=_kept(event, data), quarantine=reason)


def _fits(secret: str, text: str, signature: str) -> bool:
    try:
        stripe.WebhookSignature.verify_header(text, signature, secret, TOLERANCE_SECONDS)
    except stripe.SignatureVerificationError:
        return False
    return True


def _kept(event: Mapping[str, Any], data: Mapping[str, Any]) -> bytes:
    """The event without the buyer's mail, name, phone, addresses and card, wherever they stand."""
    thing = data.get("object")
    kept = {"object": _plain(thing, KEPT_OF_THING)} if isinstance(thing, dict) else {}
    return orjson.dumps({**_plain(event, KEPT_OF_EVENT), "data": kept})


def _plain(fields: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        value = fields.get(name)
        if isinstance(value, dict):
            # A thing that is there in full, such as a PaymentIntent with its customer.
            value = value.get("id")
        if isinstance(value, int) or (isinstance(value, str) and PLAIN.fullmatch(value)):
            found[name] = value
    return found


def _is_ahead(signature: str) -> bool:
    """The library minds only times that are past."""
    found = SIGNATURE.fullmatch(signature)
    return found is not None and int(found[1]) > time.time() + TOLERANCE_SECONDS
