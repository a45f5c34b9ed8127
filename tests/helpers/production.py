"""A configuration that production takes, whole; a test breaks one thing of it."""

from __future__ import annotations

import base64
import hashlib

# TEMPORAL_* have names of their own.
TEMPORAL = {"TEMPORAL_ADDRESS": "temporal.internal:7233", "TEMPORAL_API_KEY": "a key of the cloud"}


def secret(name: str) -> str:
    """32 bytes that are another secret for every name, in base64."""
    return base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()


GOOD = {
    "env": "production",
    "database_url": "postgresql://app:correct-horse-battery@db.internal/seathold?sslmode=verify-full",
    "redis_url": "rediss://:another-horse-battery@redis.internal:6380/0",
    "jwt_seed": secret("jwt"),
    "webhook_secret": f"whsec_{secret('webhooks')}",
    "payload_keys": f"own:{secret('payloads')}",
    "partner_secret_keys": f"own:{secret('partners')}",
    "stripe_api_key": "sk_live_" + "0123456789abcdefghijklmn",
    "stripe_webhook_secret": "whsec_0123456789abcdefghijklmnopqrstuv",
    "public_url": "https://tickets.cinema.org",
    "account_url": "https://tickets.cinema.org/account",
    "mail_from": "Seathold <tickets@cinema.org>",
    "smtp_host": "127.0.0.1",
    "smtp_port": "25",
    "sms_url": "https://sms.provider.org/send",
    "trusted_proxies": "10.0.0.0/8,fd00::/16",
    "metrics_networks": "10.1.0.0/16",
    "cors_origins": "https://shop.cinema.org",
    "allowed_hosts": "tickets.cinema.org",
}


def environment(**changes: str | None) -> dict[str, str]:
    """Environment variables of the whole configuration; None leaves a setting out."""
    values: dict[str, str | None] = {**GOOD, **changes}
    ours = {
        f"SEATHOLD_{name.upper()}": value for name, value in values.items() if value is not None
    }
    return {**ours, **TEMPORAL}
