"""W: outgoing webhooks. Everything owed is told or explained, as it was, by those who may."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from seathold.checker.world import World

TOLD = """(VALUES
    ('BookingConfirmed', 'booking.confirmed'), ('BookingExpired', 'booking.expired'),
    ('BookingCancelled', 'booking.cancelled'), ('RefundSettled', 'booking.refund_settled'),
    ('BookingRefunded', 'booking.refunded'), ('BookingDisputed', 'booking.disputed'),
    ('BookingChargedBack', 'booking.charged_back'), ('ShowCancelled', 'show.cancelled')
) AS told (event_type, type)"""
# The log is kept for 30 days; what is about to be swept is left alone.
KEPT = "created_at > now() - interval '29 days'"
UNTOLD = f"""
SELECT events.id, events.event_type FROM events
JOIN {TOLD} ON told.event_type = events.event_type
LEFT JOIN partner_events AS known ON known.event_id = events.id
WHERE {KEPT} AND (events.xid, events.id) <= (SELECT xid, event_id FROM partner_feed)
  AND known.type IS DISTINCT FROM told.type
"""  # noqa: S608  # nosec B608
# Only where anybody listens: how far the feed is behind is a gauge's to say.
LATE = f"""
SELECT events.id, events.event_type FROM events
JOIN {TOLD} ON told.event_type = events.event_type
WHERE {KEPT} AND (events.xid, events.id) > (SELECT xid, event_id FROM partner_feed)
  AND created_at < now() - make_interval(secs => %(seconds)s)
  AND EXISTS (SELECT FROM partner_endpoints)
"""  # noqa: S608  # nosec B608
UNOWED = """
SELECT endpoint.id AS endpoint_id, event.id FROM partner_endpoints AS endpoint
JOIN partner_events AS event
  ON event.type = ANY(endpoint.event_types) AND event.projected_at > endpoint.types_since
LEFT JOIN partner_deliveries AS delivery
  ON delivery.endpoint_id = endpoint.id AND delivery.partner_event_id = event.id
WHERE event.only_for IS NULL AND delivery.id IS NULL
"""
OVERDUE = """
SELECT id, next_attempt_at FROM partner_deliveries
WHERE state = 'pending' AND due_since < now() - interval '3 days 12 hours'
"""
CHANGED = """
SELECT delivery.id, attempt.number FROM partner_attempts AS attempt
JOIN partner_deliveries AS delivery ON delivery.id = attempt.delivery_id
JOIN partner_events AS event ON event.id = delivery.partner_event_id
WHERE attempt.body_hash <> sha256(convert_to(event.body, 'UTF8'))
"""
UNPROVEN = """
SELECT id FROM partner_deliveries AS delivery
WHERE state = 'delivered' AND NOT EXISTS (
    SELECT FROM partner_attempts WHERE delivery_id = delivery.id AND status BETWEEN 200 AND 299
)
"""
SECRETS = "SELECT id::text, secret, previous_secret FROM partner_endpoints"
# A try that had begun may end a moment later.
RECEIVED = """
SELECT endpoint.id, attempt.started_at, endpoint.disabled_at
FROM partner_endpoints AS endpoint
JOIN partner_deliveries AS delivery ON delivery.endpoint_id = endpoint.id
JOIN partner_attempts AS attempt ON attempt.delivery_id = delivery.id
WHERE endpoint.state = 'disabled'
  AND attempt.started_at > endpoint.disabled_at + interval '5 seconds'
"""
WAITING = """
SELECT delivery.id FROM partner_deliveries AS delivery
JOIN partner_endpoints AS endpoint ON endpoint.id = endpoint_id
WHERE delivery.state = 'pending' AND endpoint.state = 'disabled'
"""
LATE_SECONDS = 120


def w1(world: World) -> Iterator[str]:
    """W1 Whatever partners are owed has a delivery, or a reason why it is not told."""
    yield from world.missing_index("partner_events", "event_id")
    yield from world.missing_index("partner_deliveries", "endpoint_id", "partner_event_id")
    yield from world.found(UNTOLD, "event {id}, {event_type}, is not in the feed that passed it")
    yield from world.found(LATE, "event {id}, {event_type}, is not told", seconds=LATE_SECONDS)
    yield from world.found(UNOWED, "endpoint {endpoint_id} is owed event {id} and has no delivery")
    yield from world.found(OVERDUE, "delivery {id} is tried for longer than three days")


def w2(world: World) -> Iterator[str]:
    """W2 Each try sends the same bytes, and what is called delivered was taken."""
    yield from world.missing_index("partner_attempts", "delivery_id", "number")
    yield from world.found(CHANGED, "delivery {id} sent something else in try {number}")
    yield from world.found(UNPROVEN, "delivery {id} is delivered and nobody took it")


def w3(world: World) -> Iterator[str]:
    """W3 Every endpoint's secrets can be opened, and a disabled one hears nothing."""
    ring = _ring(world.inputs.partner_secret_keys)
    for row in world.rows(SECRETS):
        for name in ("secret", "previous_secret"):
            sealed = row[name]
            if sealed is not None and not _opens(ring, bytes(sealed), row["id"]):
                yield f"endpoint {row['id']}: no key of the ring opens its {name}"
    yield from world.found(
        RECEIVED, "endpoint {id} was sent to at {started_at}, disabled at {disabled_at}"
    )
    yield from world.found(WAITING, "delivery {id} waits for an endpoint that is disabled")


def _ring(written: str) -> Mapping[bytes, bytes]:
    keys = {}
    for part in written.split(","):
        name, _, key = part.strip().partition(":")
        try:
            keys[name.encode()] = base64.b64decode(key, validate=True)
        except binascii.Error:
            continue
    return keys


def _opens(ring: Mapping[bytes, bytes], sealed: bytes, endpoint_id: str) -> bool:
    """Version 1: a byte 1, the length of the key's name, the name, 12 bytes of nonce, the rest.

    What comes before the nonce is authenticated together with ``partner_endpoint:<id>``.
    """
    if len(sealed) < 2 or sealed[0] != 1:
        return False
    end = 2 + sealed[1]
    key = ring.get(sealed[2:end])
    if key is None:
        return False
    place = sealed[:end] + f"partner_endpoint:{endpoint_id}".encode()
    try:
        return len(AESGCM(key).decrypt(sealed[end : end + 12], sealed[end + 12 :], place)) >= 24
    except (InvalidTag, ValueError):
        return False


CHECKS = (w1, w2, w3)
