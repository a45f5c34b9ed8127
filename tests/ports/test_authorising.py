"""Money promised first, at each provider: taken once, let go once, and what was refused."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import Conflict, NotFound, Unavailable
from domain.payment import ProviderPaymentStatus, SessionStatus
from domain.payment_policy import PaymentMode
from services.gateway import PaymentGateway
from tests.helpers.stripe_town import StripeTown
from tests.ports.conftest import PRICE, Provider, opened, pay
from tests.sandbox.process import NO_FAULTS

AUTHORISE = {"mode": PaymentMode.AUTHORISE}


async def promised(gateway: PaymentGateway, provider: Provider, key: str) -> str:
    """An authorised payment's reference."""
    return pay(provider, await opened(gateway, f"page-{key}", **AUTHORISE), "authorised")


async def status_of(gateway: PaymentGateway, reference: str) -> ProviderPaymentStatus:
    return (await gateway.read_payment(reference)).status


def capture_by_hand(provider: Provider, reference: str) -> None:
    """What somebody does in the provider's dashboard."""
    if isinstance(provider, StripeTown):
        intent = provider.intents[reference]
        intent["status"] = "succeeded"
        intent["latest_charge"]["amount_captured"] = intent["amount"]
    else:
        assert provider.post(f"/v1/payments/{reference}/capture").status_code == 200


def void_by_hand(provider: Provider, reference: str) -> None:
    if isinstance(provider, StripeTown):
        provider.intents[reference]["status"] = "canceled"
    else:
        assert provider.post(f"/v1/payments/{reference}/void").status_code == 200


async def test_both_providers_can_authorise_and_void(gateway: PaymentGateway) -> None:
    assert gateway.abilities.manual_capture
    assert gateway.abilities.can_void


async def test_the_page_of_an_authorisation_asks_the_provider_for_one(
    gateway: PaymentGateway, provider: Provider
) -> None:
    session = await opened(gateway, "asks", **AUTHORISE)
    if isinstance(provider, StripeTown):
        asked = provider.requests[-1].content.decode()
        assert "payment_intent_data[capture_method]=manual" in asked
        await opened(gateway, "asks-not")
        assert "capture_method" not in provider.requests[-1].content.decode()
    else:
        provider.http.post(f"/pay/{session.session_id}", data={"act": "pay"})
        [payment] = (await gateway.read_session(session.session_id)).payments
        assert payment.status is ProviderPaymentStatus.AUTHORISED


async def test_what_is_promised_is_not_taken(gateway: PaymentGateway, provider: Provider) -> None:
    session = await opened(gateway, "promised", **AUTHORISE)
    reference = pay(provider, session, "authorised")
    payment = await gateway.read_payment(reference)
    assert (payment.status, payment.amount) == (ProviderPaymentStatus.AUTHORISED, PRICE)
    assert payment.captured == 0
    assert (await gateway.read_session(session.session_id)).status is SessionStatus.PAID


async def test_a_capture_takes_the_whole_sum_once(
    gateway: PaymentGateway, provider: Provider
) -> None:
    reference = await promised(gateway, provider, "take")
    first = await gateway.capture(reference, key="take")
    assert (first.status, first.captured) == (ProviderPaymentStatus.CAPTURED, PRICE.amount)
    assert await gateway.capture(reference, key="take") == first
    assert await gateway.capture(reference, key="take-otherwise") == first
    assert await gateway.read_payment(reference) == first


async def test_a_void_lets_go_once_and_takes_nothing(
    gateway: PaymentGateway, provider: Provider
) -> None:
    reference = await promised(gateway, provider, "let-go")
    first = await gateway.void(reference, key="let-go")
    assert (first.status, first.captured) == (ProviderPaymentStatus.VOIDED, 0)
    assert await gateway.void(reference, key="let-go") == first
    assert await gateway.void(reference, key="let-go-otherwise") == first
    assert await status_of(gateway, reference) is ProviderPaymentStatus.VOIDED


async def test_what_was_let_go_cannot_be_taken(gateway: PaymentGateway, provider: Provider) -> None:
    reference = await promised(gateway, provider, "gone")
    void_by_hand(provider, reference)
    with pytest.raises(Conflict) as refused:
        await gateway.capture(reference, key="gone")
    assert refused.value.code == "provider_refused"


async def test_a_void_that_comes_too_late_says_that_the_money_was_taken(
    gateway: PaymentGateway, provider: Provider
) -> None:
    reference = await promised(gateway, provider, "too-late")
    capture_by_hand(provider, reference)
    told = await gateway.void(reference, key="too-late")
    assert (told.status, told.captured) == (ProviderPaymentStatus.CAPTURED, PRICE.amount)


@pytest.mark.parametrize("act", ["capture", "void"])
async def test_a_payment_that_was_never_promised_is_refused(
    gateway: PaymentGateway, provider: Provider, act: str
) -> None:
    session = await opened(gateway, f"page-processing-{act}", **AUTHORISE)
    reference = pay(provider, session, "processing")
    with pytest.raises(Conflict) as refused:
        await getattr(gateway, act)(reference, key=f"processing-{act}")
    assert refused.value.code == "provider_refused"


@pytest.mark.parametrize("unknown", ["none", "", "../test/ledger", "é"])
async def test_an_unknown_payment_is_not_found(gateway: PaymentGateway, unknown: str) -> None:
    for act in (gateway.capture, gateway.void):
        with pytest.raises(NotFound):
            await act(unknown, key="k-unknown")


@pytest.mark.parametrize("act", ["capture", "void"])
@pytest.mark.parametrize(
    "faults",
    [{"error_rate": 1}, {"respond": "html"}, {"respond": "redirect"}, {"respond": "429"}],
    ids=str,
)
async def test_an_act_whose_answer_was_lost_is_found_by_its_key(
    gateway: PaymentGateway, provider: Provider, act: str, faults: dict[str, Any]
) -> None:
    name = "-".join(str(value) for value in (act, *faults.values()))
    reference = await promised(gateway, provider, name)
    provider.configure(fail_after_effect=True, **faults)
    with pytest.raises(Unavailable):
        await getattr(gateway, act)(reference, key=name)
    provider.configure(**NO_FAULTS)
    ended = await status_of(gateway, reference)
    assert ended in (ProviderPaymentStatus.CAPTURED, ProviderPaymentStatus.VOIDED)
    assert (await getattr(gateway, act)(reference, key=name)).status is ended


async def test_a_capture_that_the_bank_declines_leaves_the_promise(
    gateway: PaymentGateway, provider: Provider
) -> None:
    if not isinstance(provider, StripeTown):
        pytest.skip("the sandbox declines no capture of money that is promised")
    reference = await promised(gateway, provider, "declined")
    provider.configure(capture_outcome="declined")
    try:
        with pytest.raises(Conflict):
            await gateway.capture(reference, key="declined")
    finally:
        provider.configure(capture_outcome=None)
    assert await status_of(gateway, reference) is ProviderPaymentStatus.AUTHORISED
