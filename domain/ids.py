"""Ids derived from what they name, so that a repeated step finds its own earlier work."""

from __future__ import annotations

from uuid import UUID, uuid5

SEATHOLD = UUID("5ea7401d-0000-4000-8000-000000000001")


def booking_id(user_id: UUID, route: str, key: str, body_hash: bytes) -> UUID:
    """The id of the booking that this user's request with this key and body makes."""
    return uuid5(SEATHOLD, f"booking|{user_id}|{route}|{key}|{body_hash.hex()}")


def extension_id(booking: UUID, user_id: UUID, key: str) -> UUID:
    """What a repeat of the same request to lengthen a hold is known by."""
    return uuid5(booking, f"extension|{user_id}|{key}")


def payment_id(booking: UUID, attempt: int) -> UUID:
    return uuid5(booking, f"payment|{attempt}")


def provider_payment_id(provider: str, reference: str) -> UUID:
    return uuid5(SEATHOLD, f"provider-payment|{provider}|{reference}")


def refund_id(provider_payment: UUID, reason: str) -> UUID:
    return uuid5(provider_payment, f"refund|{reason}")


def posting_id(about: UUID, kind: str, key: str = "") -> UUID:
    """Of the posting about a payment or a refund; ``key`` tells several of a kind apart."""
    return uuid5(about, f"posting|{kind}|{key}")


def asked_refund_id(booking: UUID, number: int, part: int) -> UUID:
    return uuid5(booking, f"refund|{number}|{part}")


def refund_request_key(booking: UUID, user_id: UUID, key: str, body_hash: bytes) -> UUID:
    """What a repeat of the same request for a refund is known by."""
    return uuid5(booking, f"refund-request|{user_id}|{key}|{body_hash.hex()}")


def show_refund_key(booking: UUID, number: int) -> UUID:
    """Of the refund that a cancelled show makes as the booking's ``number``th."""
    return uuid5(booking, f"show-refund|{number}")


def ticket_id(booking: UUID, label: str) -> UUID:
    return uuid5(booking, f"ticket|{label}")


def dispute_id(provider_payment: UUID, reference: str) -> UUID:
    return uuid5(provider_payment, f"dispute|{reference}")


def case_id(dedupe: str) -> UUID:
    return uuid5(SEATHOLD, f"case|{dedupe}")
