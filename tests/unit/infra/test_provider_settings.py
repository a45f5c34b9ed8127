"""Which providers a deployment has, and whose signatures it takes, follows from its settings."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook

from domain.errors import Unauthenticated, Unavailable
from infra.gateways.assembly import open_gateways, webhook_verifiers
from infra.settings import Settings

NEW = "whsec_" + base64.b64encode(b"the secret of today and tomorrow").decode()
OLD = "whsec_" + base64.b64encode(b"the secret that is being retired").decode()
OTHER = "whsec_" + base64.b64encode(b"somebody else's secret, not ours").decode()
BODY = '{"type": "payment.captured", "data": {}}'


def signed(secret: str) -> dict[str, str]:
    at = datetime.now(UTC)
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("evt_1", at, BODY),
    }


def settings(**changes: object) -> Settings:
    return Settings.model_validate({"webhook_secret": NEW, **changes})


def test_two_secrets_live_while_they_rotate_and_no_third() -> None:
    rotating = webhook_verifiers(settings(webhook_secret_previous=OLD))["sandbox"]
    for secret in (NEW, OLD):
        assert rotating.verify(signed(secret), BODY.encode()).event_id == "evt_1"
    with pytest.raises(Unauthenticated):
        rotating.verify(signed(OTHER), BODY.encode())


@pytest.mark.parametrize("previous", [{}, {"webhook_secret_previous": ""}])
def test_after_the_rotation_the_old_secret_is_dead(previous: dict[str, str]) -> None:
    rotated = webhook_verifiers(settings(**previous))["sandbox"]
    with pytest.raises(Unauthenticated):
        rotated.verify(signed(OLD), BODY.encode())


@pytest.mark.parametrize("unusable", ["whsec_", "whsec_a", "é"])
def test_an_unusable_secret_is_refused_at_the_start(unusable: str) -> None:
    with pytest.raises(ValueError, match="a webhook secret is"):
        webhook_verifiers(settings(webhook_secret_previous=unusable))


def test_a_refusal_at_the_start_prints_no_secret() -> None:
    with pytest.raises(ValidationError) as refused:
        settings(env="production", jwt_seed="seed-of-the-test", redis_url=7, webhook_secret=OLD)
    assert "redis_url" in str(refused.value)
    assert "seed-of-the-test" not in str(refused.value)
    assert OLD not in str(refused.value)


async def test_a_provider_that_is_switched_off_is_away() -> None:
    async with open_gateways(settings()) as gateways:
        assert set(gateways) == {"sandbox"}
        assert gateways["sandbox"].name == "sandbox"
        with pytest.raises(Unavailable):
            gateways["another"]
