"""A booking promised through Stripe: manual capture, once the seats are final."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from domain.payment_policy import PaymentMode
from domain.steps import BookingInput
from infra.gateways.stripe import StripeGateway
from infra.postgres.database import Database
from infra.redis.seat_claims import RedisSeatPreclaims
from services.desk import Caller
from tests.factories import Hall
from tests.helpers.promises import is_settled, let_go
from tests.helpers.saga import Saga
from tests.helpers.stripe_town import KEY, StripeTown, running_town


@pytest.fixture(scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StripeTown]:
    async with running_town(tmp_path_factory.mktemp("stripe")) as town:
        yield town


@pytest.fixture
def stripe(
    engine: AsyncEngine, database: Database, redis: Redis, temporal: Client, town: StripeTown
) -> Saga:
    gateways = {"stripe": StripeGateway(KEY, base_url=town.mock_url, transport=town)}
    preclaims = RedisSeatPreclaims(redis)
    return Saga(engine, database, temporal, preclaims, gateways, PaymentMode.AUTHORISE)


async def promised(stripe: Saga, town: StripeTown, input: BookingInput) -> str:
    """A PaymentIntent that waits for its capture, of which the saga is told."""
    await stripe.reserve(input)
    attempt, _ = await stripe.desk.checkout(
        Caller(UUID(input.user_id), "test-request"),
        UUID(input.booking_id),
        provider_name="stripe",
        return_url="https://shop.test/back",
    )
    assert attempt.session_id is not None
    assert any(
        b"payment_intent_data[capture_method]=manual" in request.content
        and input.booking_id.encode() in request.content
        for request in town.requests
    ), "the page was asked to authorise only"
    reference = town.pay({"id": attempt.session_id}, "authorised")
    assert await stripe.news.by_session("stripe", attempt.session_id, request_id=None)
    return reference


async def test_the_intent_is_captured_once_the_seats_are_final(
    stripe: Saga, hall: Hall, town: StripeTown
) -> None:
    input = hall.input()
    async with stripe.worker():
        reference = await promised(stripe, town, input)
        assert (await stripe.handle(input).result())["state"] == "confirmed"
    intent = town.intents[reference]
    assert (intent["status"], intent["latest_charge"]["amount_captured"]) == ("succeeded", 2400)
    assert await stripe.claims(input) == {"A1": "sold", "A2": "sold"}
    assert await is_settled(stripe, input)


async def test_a_declined_capture_cancels_the_intent_and_frees_the_seats(
    stripe: Saga, hall: Hall, town: StripeTown
) -> None:
    input = hall.input()
    town.configure(capture_outcome="declined")
    try:
        async with stripe.worker():
            reference = await promised(stripe, town, input)
            assert (await stripe.handle(input).result())["state"] == "expired"
            assert await let_go(stripe, reference) == "voided"
    finally:
        town.configure(capture_outcome=None)
    assert town.intents[reference]["status"] == "canceled"
    assert await stripe.claims(input) == {}
    assert await is_settled(stripe, input)
