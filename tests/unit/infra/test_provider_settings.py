"""Which providers a deployment has, and whose signatures it takes, follows from its settings."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook

from domain.errors import Unauthenticated, Unavailable
from domain.payment_policy import PaymentMode
from infra.gateways import sandbox
from infra.gateways.assembly import open_gateways, require_abilities, webhook_verifiers
from infra.gateways.sandbox import SandboxGateway
from infra.settings import Settings
from services.gateway import Abilities
from tests.helpers.stripe_events import event
from tests.helpers.stripe_events import signed as signed_by_stripe

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


STRIPE = {"stripe_api_key": "sk_test_abc", "stripe_webhook_secret": "whsec_any text at all"}


async def test_stripe_is_on_with_its_key_and_takes_its_own_secrets() -> None:
    on = settings(**STRIPE, stripe_webhook_secret_previous="whsec_old")
    async with open_gateways(on) as gateways:
        assert {name: gateway.name for name, gateway in gateways.items()} == {
            "sandbox": "sandbox",
            "stripe": "stripe",
        }
    verifiers = webhook_verifiers(on)
    body = event("charge.refunded")
    for secret in ("whsec_any text at all", "whsec_old"):
        assert verifiers["stripe"].verify(signed_by_stripe(body, secret=secret), body).event_id
    with pytest.raises(Unauthenticated):
        verifiers["stripe"].verify(signed_by_stripe(body, secret=NEW), body)


@pytest.mark.parametrize(
    ("key", "quarantined"),
    [("sk_test_abc", False), ("rk_test_abc", False), ("sk_live_abc", True), ("rk_live_abc", True)],
)
def test_the_key_says_which_mode_is_ours(key: str, quarantined: bool) -> None:
    verifier = webhook_verifiers(settings(**{**STRIPE, "stripe_api_key": key}))["stripe"]
    body = event("charge.refunded")
    found = verifier.verify(signed_by_stripe(body, secret=STRIPE["stripe_webhook_secret"]), body)
    assert (found.quarantine is not None) == quarantined


@pytest.mark.parametrize("key", ["sk_live_abc", "rk_live_abc"])
async def test_beside_real_money_there_is_no_play_money(key: str) -> None:
    real = settings(**{**STRIPE, "stripe_api_key": key})
    async with open_gateways(real) as gateways:
        assert set(gateways) == {"stripe"}
    assert set(webhook_verifiers(real)) == {"stripe"}


async def test_an_empty_key_is_none() -> None:
    off = settings(stripe_api_key="", stripe_webhook_secret="", stripe_webhook_secret_previous="")
    assert set(webhook_verifiers(off)) == {"sandbox"}
    async with open_gateways(off) as gateways:
        assert set(gateways) == {"sandbox"}


@pytest.mark.parametrize("secret", [{}, {"stripe_webhook_secret": ""}])
def test_stripe_without_a_webhook_secret_is_refused_at_the_start(secret: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="SEATHOLD_STRIPE_WEBHOOK_SECRET") as refused:
        settings(stripe_api_key="sk_live_abc", **secret)
    assert "sk_live_abc" not in str(refused.value)


@pytest.mark.parametrize("key", ["pk_test_abc", "abc", "sk_test_", "sk_test_a\nb", "sk_prod_abc"])
async def test_what_is_no_secret_key_is_refused_at_the_start_and_not_repeated(key: str) -> None:
    wrong = settings(**{**STRIPE, "stripe_api_key": key})
    with pytest.raises(ValueError, match="the Stripe key must be") as refused:
        async with open_gateways(wrong):
            pass
    assert key not in str(refused.value)
    with pytest.raises(ValueError, match="the Stripe key must be"):
        webhook_verifiers(wrong)


class Unable(SandboxGateway):
    """A provider that lacks one ability."""

    def __init__(self, **lacks: bool) -> None:
        super().__init__("http://provider.test")
        self._lacks = lacks

    @property
    def abilities(self) -> Abilities:
        return replace(super().abilities, **self._lacks)


@pytest.mark.parametrize("lacks", [{"manual_capture": False}, {"can_void": False}], ids=str)
def test_a_provider_that_cannot_authorise_is_refused_in_one_sentence(
    lacks: dict[str, bool],
) -> None:
    gateways = [SandboxGateway("http://provider.test"), Unable(**lacks)]
    require_abilities(gateways, PaymentMode.CAPTURE)
    with pytest.raises(ValueError, match="authorise") as refused:
        require_abilities(gateways, PaymentMode.AUTHORISE)
    assert str(refused.value) == (
        "SEATHOLD_PAYMENT_MODE=authorise needs a provider that can authorise and void;"
        " sandbox cannot."
    )


async def test_a_deployment_says_how_it_is_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().payment_mode is PaymentMode.CAPTURE
    monkeypatch.setenv("SEATHOLD_PAYMENT_MODE", "authorise")
    promising = settings()
    assert promising.payment_mode is PaymentMode.AUTHORISE
    async with open_gateways(promising) as gateways:
        assert gateways["sandbox"].abilities.manual_capture
    with pytest.raises(ValidationError, match="capture"):
        settings(payment_mode="later")


async def test_the_start_refuses_a_mode_that_the_provider_cannot_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sandbox, "ABILITIES", replace(sandbox.ABILITIES, can_void=False))
    with pytest.raises(ValueError, match="sandbox cannot"):
        async with open_gateways(settings(payment_mode="authorise")):
            pass


def test_refund_brackets_are_checked_at_the_start() -> None:
    assert [one.percent for one in settings(refund_brackets="3d:90,1h:10").brackets] == [90, 10]
    with pytest.raises(ValidationError, match="'1x:10' is no bracket such as 24h:100"):
        settings(refund_brackets="3d:90,1x:10")
