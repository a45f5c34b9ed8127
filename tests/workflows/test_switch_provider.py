"""Another provider without losing the hold: the first page is closed before the second opens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from domain.errors import Conflict, NotFound, SeatholdError, Unavailable
from domain.payment import ProviderSession
from domain.steps import BookingInput
from infra.postgres.database import Database
from infra.redis.seat_claims import RedisSeatPreclaims
from services.desk import Caller
from services.payment_rows import Attempt
from tests.factories import Hall
from tests.helpers.own_pages import OwnPages
from tests.helpers.saga import Saga
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.test_booking_paths import pay

OPEN_A, CLOSED_A, OPEN_B = ("sandbox", "open"), ("sandbox", "closed"), ("second", "open")


class Noting(OwnPages):
    """The sandbox under a name of its own; notes when a page is asked for and when closed.

    Of no other page than those that were opened here.
    """

    def __init__(self, name: str, base_url: str, calls: list[tuple[str, str]]) -> None:
        super().__init__(base_url)
        self._name, self._calls = name, calls
        self.refusal: SeatholdError | None = None

    @property
    def name(self) -> str:
        return self._name

    async def open_session(self, **wish: Any) -> ProviderSession:
        self._calls.append((self._name, "open"))
        return await super().open_session(**wish)

    async def read_session(self, session_id: str) -> ProviderSession:
        if self.refusal is not None:
            raise self.refusal
        return await super().read_session(session_id)

    async def expire_session(self, session_id: str) -> ProviderSession:
        if self.refusal is not None:
            raise self.refusal
        session = await super().expire_session(session_id)
        if session_id in self.pages:
            self._calls.append((self._name, "closed"))
        return session


@pytest.fixture
def calls() -> list[tuple[str, str]]:
    return []


@pytest.fixture
async def first(provider: Sandbox, calls: list[tuple[str, str]]) -> AsyncIterator[Noting]:
    gateway = Noting("sandbox", provider.url, calls)
    yield gateway
    await gateway.aclose()


@pytest.fixture
async def saga(
    engine: AsyncEngine,
    database: Database,
    redis: Redis,
    temporal: Client,
    provider: Sandbox,
    first: Noting,
    calls: list[tuple[str, str]],
) -> AsyncIterator[Saga]:
    second = Noting("second", provider.url, calls)
    gateways = {"sandbox": first, "second": second}
    yield Saga(engine, database, temporal, RedisSeatPreclaims(redis), gateways)
    await second.aclose()


async def check_out(saga: Saga, input: BookingInput, provider: str) -> Attempt:
    caller = Caller(UUID(input.user_id), "test-request")
    back = "http://shop.test/back"
    opened, is_new = await saga.desk.checkout(
        caller, UUID(input.booking_id), provider_name=provider, return_url=back
    )
    assert is_new
    return opened


async def hold(saga: Saga, input: BookingInput) -> tuple[Any, ...]:
    [found] = await saga.rows(
        "SELECT state, hold_expires_at, extensions_left FROM bookings WHERE id = :id",
        id=UUID(input.booking_id),
    )
    return found


async def tell(saga: Saga, page: Attempt) -> None:
    """What the inbox loop does with a webhook that names this page."""
    assert page.session_id is not None
    assert await saga.news.by_session(page.provider, page.session_id, request_id="webhook")


@pytest.mark.usefixtures("worker")
async def test_the_first_page_is_closed_before_the_second_opens_and_the_hold_stays(
    saga: Saga, hall: Hall, provider: Sandbox, calls: list[tuple[str, str]]
) -> None:
    input = hall.input()
    await saga.reserve(input)
    before = await check_out(saga, input, "sandbox")
    standing = await hold(saga, input)
    after = await check_out(saga, input, "second")
    assert calls == [OPEN_A, CLOSED_A, OPEN_B]
    assert provider.look({"id": before.session_id})["status"] == "expired"
    assert provider.look({"id": after.session_id})["status"] == "open"
    assert await hold(saga, input) == standing
    assert await saga.claims(input) == {"A1": "held", "A2": "held"}
    pay(provider, str(after.session_id))
    await tell(saga, after)
    assert (await saga.handle(input).result())["state"] == "confirmed"


@pytest.mark.usefixtures("worker")
async def test_a_first_page_that_was_paid_meanwhile_leaves_nothing_to_pay(
    saga: Saga, hall: Hall, provider: Sandbox, calls: list[tuple[str, str]]
) -> None:
    input = hall.input()
    await saga.reserve(input)
    page = await check_out(saga, input, "sandbox")
    pay(provider, str(page.session_id))
    for _ in range(2):
        with pytest.raises(Conflict) as refused:
            await check_out(saga, input, "second")
        assert refused.value.code == "nothing_to_pay"
    assert OPEN_B not in calls
    assert await saga.claims(input) == {"A1": "held", "A2": "held"}
    [(payment_id,)] = await saga.rows(
        "SELECT id FROM provider_payments WHERE booking_id = :id", id=UUID(input.booking_id)
    )
    await saga.news.tell_again(payment_id)
    assert (await saga.handle(input).result())["state"] == "confirmed"


@pytest.mark.usefixtures("worker")
async def test_while_the_first_provider_is_away_no_second_page_opens(
    saga: Saga, hall: Hall, provider: Sandbox, calls: list[tuple[str, str]]
) -> None:
    input = hall.input()
    await saga.reserve(input)
    await check_out(saga, input, "sandbox")
    standing = await hold(saga, input)
    provider.configure(error_rate=1)
    try:
        with pytest.raises(Unavailable):
            await check_out(saga, input, "second")
    finally:
        provider.configure(**NO_FAULTS)
    assert calls == [OPEN_A]
    assert await hold(saga, input) == standing
    page = await check_out(saga, input, "second")
    assert calls == [OPEN_A, CLOSED_A, OPEN_B]
    pay(provider, str(page.session_id))
    await tell(saga, page)
    assert (await saga.handle(input).result())["state"] == "confirmed"


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    "refusal",
    [Conflict("The provider refused.", code="provider_refused"), NotFound("No such page.")],
    ids=["refused", "unknown"],
)
async def test_a_first_page_that_is_not_closed_for_certain_is_said_to_be_in_the_way(
    saga: Saga, hall: Hall, first: Noting, calls: list[tuple[str, str]], refusal: SeatholdError
) -> None:
    """Not 404: the booking is the buyer's own, and it is there."""
    input = hall.input()
    await saga.reserve(input)
    await check_out(saga, input, "sandbox")
    first.refusal = refusal
    with pytest.raises(Unavailable, match="earlier pay page could not be closed"):
        await check_out(saga, input, "second")
    assert calls == [OPEN_A]
    caller = Caller(UUID(input.user_id), None)
    assert not await saga.desk.confirm(caller, UUID(input.booking_id), wait_seconds=0)
    assert await saga.claims(input) == {"A1": "held", "A2": "held"}
    first.refusal = None
    await saga.desk.cancel(caller, UUID(input.booking_id))
    assert (await saga.handle(input).result())["state"] == "cancelled"
