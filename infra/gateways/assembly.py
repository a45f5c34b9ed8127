"""The payment providers of a deployment, put together from its settings in one place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from domain.errors import Unavailable
from infra.gateways.events import WebhookVerifier
from infra.gateways.sandbox import SandboxGateway
from infra.gateways.webhooks import StandardWebhooks
from infra.settings import Settings
from services.gateway import PaymentGateway


class Gateways(dict[str, PaymentGateway]):
    """Providers by name. One that rows still name but that is switched off is ``Unavailable``."""

    def __missing__(self, name: str) -> PaymentGateway:
        raise Unavailable(f"The payment provider {name} is not switched on.", retry_after=60)


@asynccontextmanager
async def open_gateways(settings: Settings) -> AsyncIterator[Gateways]:
    """Every provider that the settings switch on; their connections are closed at the end."""
    sandbox = SandboxGateway(settings.sandbox_url)
    try:
        yield Gateways({sandbox.name: sandbox})
    finally:
        await sandbox.aclose()


def webhook_verifiers(settings: Settings) -> dict[str, WebhookVerifier]:
    """Who verifies the webhooks of each provider, with its own secrets.

    Raises:
        ValueError: a secret cannot be used.
    """
    sandbox = _live(settings.webhook_secret, settings.webhook_secret_previous)
    return {"sandbox": StandardWebhooks(sandbox)}


def _live(*secrets: SecretStr | None) -> list[str]:
    """The secrets that are set: two while they rotate."""
    return [secret.get_secret_value() for secret in secrets if secret is not None]
