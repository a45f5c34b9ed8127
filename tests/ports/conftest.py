"""Each provider behind the port: the sandbox's own process, and Stripe with a memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.money import Money
from domain.payment import ProviderSession
from infra.gateways.sandbox import SandboxGateway
from infra.gateways.stripe import StripeGateway
from services.gateway import PaymentGateway
from tests.helpers.stripe_town import KEY, StripeTown, running_town
from tests.sandbox.process import NO_FAULTS, Sandbox, running_sandbox

PRICE = Money(2400, "EUR")


# What a test does at either: pay as a buyer, let it misbehave.
Provider = Sandbox | StripeTown


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory.mktemp("gateway") / "sandbox.db") as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StripeTown]:
    async with running_town(tmp_path_factory.mktemp("stripe")) as town:
        yield town


@pytest.fixture(params=["sandbox", "stripe"])
def provider(
    request: pytest.FixtureRequest, sandbox: Sandbox, town: StripeTown
) -> Iterator[Provider]:
    provider = sandbox if request.param == "sandbox" else town
    yield provider
    provider.faults.clear() if isinstance(provider, StripeTown) else provider.configure(**NO_FAULTS)


@pytest.fixture
async def gateway(provider: Provider) -> AsyncIterator[PaymentGateway]:
    adapter = (
        StripeGateway(KEY, base_url=provider.mock_url, transport=provider)
        if isinstance(provider, StripeTown)
        else SandboxGateway(provider.url)
    )
    yield adapter
    await adapter.aclose()


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=10)


async def opened(gateway: PaymentGateway, key: str, **changes: Any) -> ProviderSession:
    wish = {
        "booking_id": f"booking-{key}",
        "amount": PRICE,
        "return_url": "http://shop.test/back",
        "expires_at": soon(),
        **changes,
    }
    return await gateway.open_session(key=key, **wish)


def pay(provider: Provider, session: ProviderSession, outcome: str = "captured", **act: Any) -> str:
    return provider.pay({"id": session.session_id}, outcome, **act)
