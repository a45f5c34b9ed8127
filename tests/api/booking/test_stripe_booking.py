"""A booking paid through Stripe: its page, its webhooks, and what a forger sends instead."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import httpx2
import orjson
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from api.app import create_app
from infra.gateways.assembly import Gateways
from infra.gateways.stripe import StripeGateway
from infra.gateways.stripe_webhooks import StripeWebhooks
from infra.postgres.database import Database
from infra.redis.seat_claims import RedisSeatPreclaims
from infra.settings import Settings
from loops.inbox import InboxLoop
from tests.api.booking.conftest import Buyer
from tests.factories import Hall
from tests.helpers.eventually import eventually
from tests.helpers.problems import assert_problem
from tests.helpers.saga import Saga
from tests.helpers.stripe_events import KINDS, OTHER, PREVIOUS, SECRET, event, signed
from tests.helpers.stripe_town import KEY, StripeTown, running_town
from tests.stack.person import Person, in_tables

PATH = "/api/webhooks/stripe"
ON = {
    "stripe_api_key": KEY,
    "stripe_webhook_secret": SECRET,
    "stripe_webhook_secret_previous": PREVIOUS,
}
BODY = event("checkout.session.completed")
PENDING = "SELECT id FROM webhook_inbox WHERE provider = 'stripe' AND status = 'pending'"


@pytest.fixture(scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StripeTown]:
    async with running_town(tmp_path_factory.mktemp("stripe")) as town:
        yield town


@pytest.fixture(scope="module")
def stripe_gateway(town: StripeTown) -> StripeGateway:
    return StripeGateway(KEY, base_url=town.mock_url, transport=town)


@pytest.fixture(scope="module")
async def app(
    settings: Settings, engine: AsyncEngine, redis: Redis, stripe_gateway: StripeGateway
) -> AsyncIterator[FastAPI]:
    on = Settings.model_validate({**settings.model_dump(), **ON})
    app = create_app(on)
    async with app.router.lifespan_context(app):
        assert set(app.state.parts.gateways) == {"sandbox", "stripe"}
        app.state.parts.gateways["stripe"] = stripe_gateway
        yield app


@pytest.fixture(scope="module")
async def saga(
    engine: AsyncEngine,
    database: Database,
    redis: Redis,
    temporal: Client,
    stripe_gateway: StripeGateway,
) -> AsyncIterator[Saga]:
    gateways = Gateways({"stripe": stripe_gateway})
    saga = Saga(engine, database, temporal, RedisSeatPreclaims(redis), gateways)
    yield saga
    await work_through(saga)


def named(kind: str, **changes: Any) -> tuple[bytes, str]:
    """The documented event under an id of its own."""
    name = f"evt_{uuid4().hex}"
    return event(kind, id=name, **changes), name


def about(kind: str, *, session: str, payment: str, **changes: Any) -> tuple[bytes, str]:
    """The documented event about this session and PaymentIntent."""
    data = orjson.loads(event(kind))["data"]
    thing = data["object"]
    ids = {"checkout.session": session, "payment_intent": payment}
    if thing["object"] in ids:
        thing["id"] = ids[thing["object"]]
    else:
        thing["payment_intent"] = payment
    return named(kind, data=data, **changes)


async def send(
    client: httpx2.AsyncClient, body: bytes, headers: dict[str, str] | None = None
) -> httpx2.Response:
    found = signed(body) if headers is None else headers
    return await client.post(
        PATH, content=body, headers={"content-type": "application/json", **found}
    )


async def row(engine: AsyncEngine, event_id: str) -> Any:
    async with engine.connect() as connection:
        found = await connection.execute(
            text("SELECT status, reason, body FROM webhook_inbox WHERE event_id = :id"),
            {"id": event_id},
        )
        return found.one_or_none()


async def work_through(saga: Saga) -> None:
    """Work through the inbox until nothing waits in it, not even what was put back."""
    loop = InboxLoop(saga.work, saga.news)

    async def nothing_waits() -> bool:
        await loop.one_pass()
        return not await saga.rows(PENDING)

    await eventually(nothing_waits, seconds=20, message="an event was never done with")


async def page_of(buyer: Buyer, booking: dict[str, Any]) -> str:
    answer = await buyer.post(f"/api/booking/{booking['id']}/checkout", {"provider": "stripe"})
    assert answer.status_code == 201, answer.text
    payment = answer.json()["payment"]
    assert payment["checkout_url"].startswith("https://checkout.stripe.com/")
    return str(payment["session_id"])


@pytest.mark.usefixtures("worker")
async def test_paid_at_stripe_and_confirmed_by_its_events_in_any_order(
    ada: Buyer, hall: Hall, town: StripeTown, saga: Saga, engine: AsyncEngine
) -> None:
    booking = await ada.held(hall)
    session = await page_of(ada, booking)
    payment = town.pay({"id": session})
    sent = []
    for kind in ("charge.refunded", "checkout.session.expired", "checkout.session.completed"):
        body, name = about(kind, session=session, payment=payment)
        assert (await send(ada.client, body)).status_code == 204
        sent.append(name)
    await work_through(saga)
    assert [(await row(engine, name)).status for name in sent] == ["done"] * 3
    confirmed = await ada.confirm(booking)
    assert confirmed.status_code == 200, confirmed.text
    assert confirmed.json()["state"] == "confirmed"
    assert town.intents[payment]["latest_charge"]["amount_refunded"] == 0


@pytest.mark.usefixtures("worker")
async def test_cancelling_closes_the_page_at_stripe(
    ada: Buyer, hall: Hall, town: StripeTown
) -> None:
    booking = await ada.held(hall)
    session = await page_of(ada, booking)
    assert (await ada.post(f"/api/booking/{booking['id']}/cancel")).status_code == 200

    async def closed() -> bool:
        return bool(town.sessions[session]["status"] == "expired")

    await eventually(closed, seconds=30, message="the page stayed open")


@pytest.mark.usefixtures("worker")
async def test_money_that_came_too_late_goes_back_through_stripe(
    ada: Buyer, hall: Hall, town: StripeTown, saga: Saga
) -> None:
    booking = await ada.held(hall)
    session = await page_of(ada, booking)
    await ada.post(f"/api/booking/{booking['id']}/cancel")

    async def cancelled() -> bool:
        answer = await ada.get(f"/api/booking/{booking['id']}")
        return bool(answer.json()["state"] == "cancelled")

    await eventually(cancelled, seconds=30, message="it was not cancelled")
    payment = town.pay({"id": session}, force=True)
    body, _ = about("checkout.session.completed", session=session, payment=payment)
    await send(ada.client, body)
    await work_through(saga)

    async def returned() -> bool:
        return bool(town.intents[payment]["latest_charge"]["amount_refunded"] == 2400)

    await eventually(returned, seconds=30, message="the money did not go back")


@pytest.mark.usefixtures("worker")
async def test_an_inquiry_is_a_note_and_a_dispute_is_followed(
    ada: Buyer, hall: Hall, town: StripeTown, saga: Saga
) -> None:
    """Stripe tells of an inquiry as of a dispute; only its status says that no money moved."""
    booking = await ada.held(hall)
    path, session = f"/api/booking/{booking['id']}", await page_of(ada, booking)
    payment = town.pay({"id": session})
    states = []
    for status, kind in (
        ("", "checkout.session.completed"),
        ("warning_needs_response", "charge.dispute.created"),
        ("needs_response", "charge.dispute.created"),
        ("under_review", "charge.dispute.created"),
        ("won", "charge.dispute.created"),
    ):
        if status:
            town.dispute(payment, status)
        body, _ = about(kind, session=session, payment=payment)
        assert (await send(ada.client, body)).status_code == 204
        await work_through(saga)
        if not status:
            assert (await ada.confirm(booking)).status_code == 200
        states.append((await ada.get(path)).json()["state"])
    assert states == ["confirmed", "confirmed", "disputed", "disputed", "confirmed"]
    summaries = await saga.rows(
        "SELECT summary FROM cases WHERE booking_id = :id ORDER BY opened_at", id=booking["id"]
    )
    assert ["No money has moved" in told for (told,) in summaries] == [True, False]


async def test_stored_once_however_often_it_comes(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    body, name = named("charge.dispute.created")
    for secret in (SECRET, PREVIOUS, SECRET):
        assert (await send(client, body, signed(body, secret=secret))).status_code == 204
    found = await row(engine, name)
    assert found.body == StripeWebhooks([SECRET], live=False).verify(signed(body), body).kept


@pytest.mark.usefixtures("worker")
async def test_what_stripe_tells_of_the_buyer_is_not_kept(
    ada: Buyer, hall: Hall, town: StripeTown, saga: Saga, engine: AsyncEngine, superuser_url: str
) -> None:
    """Buyers type into Stripe's page what they like; no erasure of an account reaches the inbox."""
    booking, person = await ada.held(hall), Person()
    session = await page_of(ada, booking)
    payment = town.pay({"id": session})
    body, name = about("checkout.session.completed", session=session, payment=payment)
    told = orjson.loads(body)
    details = {"email": person.email, "name": person.name, "phone": person.phone}
    told["data"]["object"] |= {"customer_details": details, "customer_email": person.email}
    told["data"]["object"]["shipping_details"] = {"name": person.name}
    body = orjson.dumps(told)
    words = list(details.values())
    assert all(word.encode() in body for word in words), "the control: Stripe does tell"
    assert (await send(ada.client, body)).status_code == 204
    await work_through(saga)
    assert (await row(engine, name)).status == "done"
    assert (await ada.confirm(booking)).json()["state"] == "confirmed"
    assert in_tables(superuser_url, words) == {}
    found = in_tables(superuser_url, [session, name])
    assert found["table webhook_inbox"] == [session, name], "the control: the search finds"


@pytest.mark.parametrize("kind", KINDS)
async def test_an_event_of_the_other_mode_is_never_acted_on_and_is_a_case(
    client: httpx2.AsyncClient, engine: AsyncEngine, town: StripeTown, saga: Saga, kind: str
) -> None:
    await work_through(saga)
    asked = len(town.requests)
    body, name = named(kind, livemode=True)
    assert (await send(client, body)).status_code == 204
    await work_through(saga)
    found = await row(engine, name)
    assert (found.status, found.reason) == ("quarantined", "a live event in test mode")
    assert len(town.requests) == asked
    [(case, summary)] = await saga.rows(
        "SELECT kind, summary FROM cases WHERE dedupe = :it", it=f"unknown_payment:stripe:{name}"
    )
    assert case == "unknown_payment"
    assert name in summary
    assert "a live event in test mode" in summary


async def test_an_event_about_none_of_our_pages_is_set_aside(
    client: httpx2.AsyncClient, engine: AsyncEngine, saga: Saga
) -> None:
    reasons = {}
    for kind in KINDS:
        body, name = named(kind)
        await send(client, body)
        await work_through(saga)
        found = await row(engine, name)
        assert found.status == "quarantined"
        reasons[kind] = found.reason
    assert reasons["checkout.session.completed"] == "no booking has this session"
    assert reasons["charge.refunded"] == "the event names no session"


async def test_an_event_that_stripe_refuses_to_explain_is_set_aside(
    client: httpx2.AsyncClient, engine: AsyncEngine, town: StripeTown, saga: Saga
) -> None:
    body, name = named("charge.refunded")
    await send(client, body)
    town.configure(respond="400")
    try:
        await work_through(saga)
    finally:
        town.configure(respond=None)
    found = await row(engine, name)
    assert (found.status, found.reason) == ("quarantined", "The payment provider refused with 400.")


async def test_while_stripe_is_away_the_event_waits(
    client: httpx2.AsyncClient, engine: AsyncEngine, town: StripeTown, saga: Saga
) -> None:
    body, name = named("charge.refunded")
    await send(client, body)
    town.configure(error_rate=1)
    try:
        await InboxLoop(saga.work, saga.news).one_pass()
    finally:
        town.configure(error_rate=0)
    assert (await row(engine, name)).status == "pending"
    await work_through(saga)
    assert (await row(engine, name)).status == "quarantined"


PACKED = {"content-encoding": "gzip"}


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        (lambda: signed(BODY, secret=OTHER), BODY, 401, "invalid_signature"),
        (lambda: signed(BODY), BODY.replace(b"2400", b"2401", 1), 401, "invalid_signature"),
        (lambda: signed(BODY, age=301), BODY, 401, "invalid_signature"),
        (lambda: signed(BODY, age=-330), BODY, 401, "invalid_signature"),
        (lambda: signed(BODY), b"", 401, "invalid_signature"),
        (dict, BODY, 400, "malformed"),
        (lambda: {"stripe-signature": "nonsense"}, BODY, 400, "malformed"),
        (lambda: {"stripe-signature": "t=1,v1=\x00"}, BODY, 400, "malformed"),
        (lambda: {"stripe-signature": "t=1,v1=\xe9"}, BODY, 400, "malformed"),
        (lambda: {"webhook-id": "evt_1", "webhook-signature": "v1,x"}, BODY, 400, "malformed"),
        (lambda: signed(b"\xff\xfe"), b"\xff\xfe", 400, "malformed"),
        (lambda: signed(b"\x00"), b"\x00", 400, "malformed"),
        (lambda: signed(b"not json"), b"not json", 400, "malformed"),
        (lambda: signed(b"[" * 50_000), b"[" * 50_000, 400, "malformed"),
        (lambda: signed(BODY) | PACKED, BODY + b"\x00", 401, "invalid_signature"),
    ],
    # A signature is of its second: made when the test runs, and no part of its name.
    ids=[
        "another secret",
        "another sum",
        "stale",
        "from the future",
        "another body",
        "unsigned",
        "nonsense",
        "a NUL",
        "not ASCII",
        "signed as another provider does",
        "not UTF-8",
        "nothing but a NUL",
        "not JSON",
        "too deep",
        "said to be packed",
    ],
)
async def test_whatever_else_comes_is_refused_and_leaves_nothing(
    client: httpx2.AsyncClient,
    engine: AsyncEngine,
    headers: Callable[[], dict[str, str]],
    body: bytes,
    status: int,
    code: str,
) -> None:
    raw = {"content-type": "application/json"} | headers()
    sent = [(name.encode(), value.encode("latin-1")) for name, value in raw.items()]
    answer = await client.post(PATH, content=body, headers=sent)
    assert_problem(answer, status, code)
    assert await row(engine, orjson.loads(BODY)["id"]) is None
