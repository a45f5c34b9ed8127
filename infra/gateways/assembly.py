"""The payment providers of a deployment, put together from its settings in one place.

Stripe's library is imported only where Stripe is on: it costs memory and a slower start.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from pydantic import SecretStr

from domain.errors import Unavailable
from domain.payment_policy import PaymentMode
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
    """Every provider that the settings switch on; their connections are closed at the end.

    Raises:
        ValueError: a provider's key cannot be used, or it cannot do the deployment's payment mode.
    """
    gateways = Gateways()
    async with AsyncExitStack() as stack:
        if _plays(settings):
            sandbox = SandboxGateway(settings.sandbox_url)
            stack.push_async_callback(sandbox.aclose)
            gateways[sandbox.name] = sandbox
        if settings.stripe_api_key is not None:
            from infra.gateways.stripe import StripeGateway

            stripe = StripeGateway(settings.stripe_api_key.get_secret_value())
            stack.push_async_callback(stripe.aclose)
            gateways[stripe.name] = stripe
        require_abilities(gateways.values(), settings.payment_mode)
        yield gateways


def require_abilities(gateways: Iterable[PaymentGateway], mode: PaymentMode) -> None:
    """Refuse a mode that a provider cannot do: its buyers could never pay.

    Raises:
        ValueError: which provider.
    """
    for gateway in gateways:
        able = gateway.abilities.manual_capture and gateway.abilities.can_void
        if mode is PaymentMode.AUTHORISE and not able:
            raise ValueError(
                f"SEATHOLD_PAYMENT_MODE=authorise needs a provider that can authorise and void;"
                f" {gateway.name} cannot."
            )


def webhook_verifiers(settings: Settings) -> dict[str, WebhookVerifier]:
    """Who verifies the webhooks of each provider, with its own secrets.

    Raises:
        ValueError: a secret or a key cannot be used.
    """
    verifiers: dict[str, WebhookVerifier] = {}
    if _plays(settings):
        live = _live(settings.webhook_secret, settings.webhook_secret_previous)
        verifiers["sandbox"] = StandardWebhooks(live)
    if settings.stripe_api_key is not None:
        from infra.gateways.stripe_webhooks import StripeWebhooks

        live = _live(settings.stripe_webhook_secret, settings.stripe_webhook_secret_previous)
        verifiers["stripe"] = StripeWebhooks(live, live=not _plays(settings))
    return verifiers


def _plays(settings: Settings) -> bool:
    """Whether this is all play money: beside real money the sandbox would be a free ticket."""
    if settings.stripe_api_key is None:
        return True
    from infra.gateways.stripe import is_live

    return not is_live(settings.stripe_api_key.get_secret_value())


def _live(*secrets: SecretStr | None) -> list[str]:
    """The secrets that are set: two while they rotate."""
    return [secret.get_secret_value() for secret in secrets if secret is not None]
