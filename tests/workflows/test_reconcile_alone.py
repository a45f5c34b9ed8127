"""One payment that cannot be compared keeps no other from its reconciliation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from domain.errors import Unavailable
from domain.payment import ProviderSession
from infra.gateways.sandbox import SandboxGateway
from infra.postgres.database import Database
from infra.redis.seat_claims import RedisSeatPreclaims
from services.reconcile import SILENT_IN_A_ROW, Reconciler
from services.reconcile_books import Tally
from tests.factories import Hall
from tests.helpers.saga import Saga
from tests.sandbox.process import Sandbox
from tests.workflows.test_booking_paths import pay
from tests.workflows.test_case_openings import cases_of
from tests.workflows.test_reconcile import held, of, state_becomes


@dataclass
class Deaf:
    """Pages of which the provider says nothing that can be used, so many times each."""

    times: dict[str, int] = field(default_factory=dict)

    def hears(self, session_id: str) -> bool:
        left = self.times.get(session_id, 0)
        self.times[session_id] = left - 1
        return left <= 0


class HalfDeafGateway(SandboxGateway):
    def __init__(self, url: str, deaf: Deaf) -> None:
        super().__init__(url)
        self._deaf = deaf

    async def read_session(self, session_id: str) -> ProviderSession:
        if not self._deaf.hears(session_id):
            raise Unavailable("the answer cannot be used")
        return await super().read_session(session_id)


@pytest.fixture
def deaf() -> Deaf:
    return Deaf()


@pytest.fixture
async def shop(
    engine: AsyncEngine,
    database: Database,
    redis: Redis,
    temporal: Client,
    provider: Sandbox,
    deaf: Deaf,
) -> AsyncIterator[Saga]:
    gateway = HalfDeafGateway(provider.url, deaf)
    saga = Saga(engine, database, temporal, RedisSeatPreclaims(redis), {gateway.name: gateway})
    async with saga.worker():
        yield saga
    await gateway.aclose()


async def run(saga: Saga, since: datetime) -> Tally:
    reconciler = saga.reconciler()
    at = await reconciler.start("sandbox", since)
    return await reconciler.run("sandbox", at, lambda _: None)


async def test_a_bad_one_is_a_case_and_the_others_are_repaired(
    shop: Saga, hall: Hall, provider: Sandbox, deaf: Deaf
) -> None:
    since = datetime.now(UTC)
    (bad, bad_page), (good, good_page) = [await held(shop, hall, one) for one in ("A1", "A2")]
    deaf.times[bad_page] = 1000
    first, second = pay(provider, bad_page), pay(provider, good_page)
    for _ in range(2):
        tally = await run(shop, since)
        assert f"left: payment {first} could not be compared" in of(tally, first)
        await state_becomes(shop, good, "confirmed")
    assert await shop.state(bad) == "held"
    [[summary]] = await shop.rows(
        "SELECT summary FROM cases WHERE dedupe = :it",
        it=f"difference:not_compared:sandbox:{first}",
    )
    assert first in summary
    assert of(await run(shop, since), second) == []
    deaf.times.clear()
    assert f"repaired: missing of payment {first}" in of(await run(shop, since), first)
    await state_becomes(shop, bad, "confirmed")


async def test_one_that_can_be_compared_at_the_end_is_no_case(
    shop: Saga, hall: Hall, provider: Sandbox, deaf: Deaf
) -> None:
    since = datetime.now(UTC)
    input, page = await held(shop, hall, "A1")
    deaf.times[page] = 1
    reference = pay(provider, page)
    assert of(await run(shop, since), reference) == [f"repaired: missing of payment {reference}"]
    await state_becomes(shop, input, "confirmed")
    assert await cases_of(shop, input) == []


async def test_a_provider_that_is_away_stops_the_run(
    shop: Saga, hall: Hall, provider: Sandbox, deaf: Deaf
) -> None:
    since = datetime.now(UTC)
    for label in hall.labels[:SILENT_IN_A_ROW]:
        _, page = await held(shop, hall, label)
        deaf.times[page] = 1000
        pay(provider, page)
    with pytest.raises(Unavailable):
        await run(shop, since)


async def test_without_the_guard_one_bad_payment_stops_all(
    shop: Saga, hall: Hall, provider: Sandbox, deaf: Deaf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control."""

    async def together(self: Reconciler, at: object, reference: str, work: object) -> bool:
        await work  # type: ignore[misc]
        return True

    monkeypatch.setattr(Reconciler, "_alone", together)
    since = datetime.now(UTC)
    (_, bad_page), (good, good_page) = [await held(shop, hall, one) for one in ("A1", "A2")]
    deaf.times[bad_page] = 1000
    pay(provider, bad_page), pay(provider, good_page)
    with pytest.raises(Unavailable):
        await run(shop, since)
    assert await shop.state(good) == "held"
