"""What is Stripe's own: its words, its money, its refusals, and the key that never shows."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
import stripe

from domain.errors import Conflict, NotFound, Unavailable
from domain.money import Money
from domain.payment import ProviderPaymentStatus, ProviderSession, SessionStatus
from infra.gateways.stripe import API_VERSION, StripeGateway
from seathold.stack.process import StackError
from tests.helpers.stripe_events import KINDS, event
from tests.helpers.stripe_mock import NAMED, find
from tests.helpers.stripe_town import KEY, StripeTown, refusal

PRICE = Money(2400, "EUR")


@pytest.fixture
def gateway(town: StripeTown) -> StripeGateway:
    town.faults.clear()
    return StripeGateway(KEY, base_url=town.mock_url, transport=town)


async def opened(
    gateway: StripeGateway, key: str, *, amount: Money = PRICE, minutes: float = 10
) -> ProviderSession:
    return await gateway.open_session(
        key=key,
        booking_id=f"booking-{key}",
        amount=amount,
        return_url="https://shop.test/back",
        expires_at=datetime.now(UTC) + timedelta(minutes=minutes),
    )


def test_without_stripe_mock_one_sentence_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(NAMED, raising=False)
    with pytest.raises(StackError, match="need stripe-mock, and there is none: put it on PATH"):
        find()


def test_the_pinned_version_is_the_one_the_library_was_made_for() -> None:
    assert stripe.api_version == API_VERSION


@pytest.mark.parametrize("minutes", [0.01, 10, 30])
async def test_a_page_lives_as_long_as_stripe_asks_however_short_the_hold(
    gateway: StripeGateway, minutes: float
) -> None:
    session = await opened(gateway, f"life-{minutes}", minutes=minutes)
    left = session.expires_at - datetime.now(UTC)
    assert timedelta(seconds=gateway.abilities.min_session_seconds) < left < timedelta(hours=2)


async def test_a_key_that_comes_with_another_wish_is_an_unknown_outcome(
    gateway: StripeGateway,
) -> None:
    await opened(gateway, "twice")
    with pytest.raises(Unavailable):
        await opened(gateway, "twice", amount=Money(2500, "EUR"))


async def test_what_is_sent_names_the_booking_and_charges_exactly_once(
    gateway: StripeGateway, town: StripeTown
) -> None:
    await opened(gateway, "sent", amount=Money(3000, "JPY"))
    request = town.requests[-1]
    assert request.headers["idempotency-key"] == "sent"
    sent = httpx2.QueryParams(request.content.decode())
    assert sent["mode"] == "payment"
    assert sent["client_reference_id"] == "booking-sent"
    assert sent["payment_intent_data[metadata][payment_id]"] == "sent"
    assert sent["line_items[0][quantity]"] == "1"
    assert sent["line_items[0][price_data][unit_amount]"] == "3000"
    assert sent["line_items[0][price_data][currency]"] == "jpy"
    assert sent["adaptive_pricing[enabled]"] == "false"
    assert "platform" not in request.headers["x-stripe-client-user-agent"]
    assert "x-stripe-client-telemetry" not in request.headers


async def test_a_refund_asked_again_says_how_it_stands_now(
    gateway: StripeGateway, town: StripeTown
) -> None:
    payment = town.pay({"id": (await opened(gateway, "stands")).session_id})
    town.configure(refund_outcome="pending")
    first = await gateway.refund(payment, key="stands-back", amount=PRICE)
    assert first.status == "pending"
    for stripes, ours in {
        "requires_action": "pending",
        "succeeded": "succeeded",
        "canceled": "failed",
        "failed": "failed",
    }.items():
        town.refunds[first.reference]["status"] = stripes
        again = await gateway.refund(payment, key="stands-back", amount=PRICE)
        assert (again.reference, again.status) == (first.reference, ours)


async def test_a_refund_in_another_currency_is_never_sent(
    gateway: StripeGateway, town: StripeTown
) -> None:
    payment = town.pay({"id": (await opened(gateway, "currency")).session_id})
    sent = len(town.requests)
    with pytest.raises(Conflict):
        await gateway.refund(payment, key="currency-back", amount=Money(2400, "USD"))
    assert [request.method for request in town.requests[sent:]] == ["GET"]


async def test_a_whole_refund_is_told_as_refunded(gateway: StripeGateway, town: StripeTown) -> None:
    payment = town.pay({"id": (await opened(gateway, "whole")).session_id})
    await gateway.refund(payment, key="whole-back", amount=PRICE)
    found = await gateway.read_payment(payment)
    assert (found.status, found.captured, found.refunded) == ("refunded", 2400, 2400)


async def test_a_page_that_will_not_close_and_is_open_is_not_told_as_closed() -> None:
    still = {**SESSION, "status": "open", "payment_status": "unpaid"}

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return refusal(400, {"type": "invalid_request_error", "message": "no"})
        return httpx2.Response(200, json=still)

    with pytest.raises(Conflict):
        await answering(answer).expire_session("cs_test_1")


@pytest.mark.parametrize("kind", KINDS)
async def test_every_event_leads_to_its_session(
    gateway: StripeGateway, town: StripeTown, kind: str
) -> None:
    told = orjson.loads(event(kind))
    thing = told["data"]["object"]
    if thing["object"] == "checkout.session":
        assert await gateway.session_id_of(told) == thing["id"]
        return
    assert await gateway.session_id_of(told) is None
    session = (await opened(gateway, f"event-{kind}")).session_id
    payment = town.pay({"id": session})
    thing["id" if thing["object"] == "payment_intent" else "payment_intent"] = payment
    assert await gateway.session_id_of(told) == session


@pytest.mark.parametrize(
    "told",
    [{}, {"data": 1}, {"data": {"object": []}}, {"data": {"object": {}}},
     {"data": {"object": {"object": "customer", "id": "cus_1"}}},
     {"data": {"object": {"object": "checkout.session", "id": 7}}},
     {"data": {"object": {"object": "charge", "payment_intent": "../x"}}},
     {"data": {"object": {"object": "charge", "payment_intent": None}}}],
    ids=str,
)  # fmt: skip
async def test_an_event_about_no_session_is_about_none(
    gateway: StripeGateway, told: dict[str, Any]
) -> None:
    assert await gateway.session_id_of(told) is None


async def test_what_stripe_documents_can_be_read_without_our_state(town: StripeTown) -> None:
    async with aclosing(StripeGateway(KEY, base_url=town.mock_url)) as bare:
        assert (await bare.read_session("cs_test_1")).status is SessionStatus.OPEN
        assert (await bare.read_payment("pi_1")).status is ProviderPaymentStatus.FAILED
        refund = {"object": "refund", "payment_intent": "pi_1"}
        assert await bare.session_id_of({"data": {"object": refund}}) is not None


SESSION: dict[str, Any] = {
    "id": "cs_test_1",
    "object": "checkout.session",
    "status": "complete",
    "payment_status": "paid",
    "amount_total": 2400,
    "currency": "eur",
    "client_reference_id": "b",
    "url": None,
    "expires_at": 1900000000,
    "payment_intent": None,
}
CHARGE: dict[str, Any] = {
    "id": "ch_1",
    "object": "charge",
    "status": "succeeded",
    "amount_captured": 2400,
    "amount_refunded": 0,
}
INTENT: dict[str, Any] = {
    "id": "pi_1",
    "object": "payment_intent",
    "status": "succeeded",
    "amount": 2400,
    "currency": "eur",
    "latest_charge": CHARGE,
    "last_payment_error": None,
    "metadata": {"booking_id": "b"},
}
UNCAPTURED = {**CHARGE, "amount_captured": 0}
RELEASED = {**UNCAPTURED, "amount_refunded": 2400}
DECLINED = {**UNCAPTURED, "status": "failed"}
ODD = {**CHARGE, "amount_captured": 2401}


def answering(answer: Callable[[httpx2.Request], httpx2.Response]) -> StripeGateway:
    return StripeGateway(KEY, transport=httpx2.MockTransport(answer))


def always(content: bytes, status: int = 200, media_type: str = "application/json") -> Any:
    """A gateway to which Stripe always answers so."""
    headers = {"content-type": media_type}
    return answering(lambda _: httpx2.Response(status, content=content, headers=headers))


@pytest.mark.parametrize(
    ("page", "intent", "status", "payment"),
    [
        ({"status": "open", "payment_status": "unpaid"}, None, "open", None),
        ({"status": "open", "payment_status": "unpaid"},
         {"status": "requires_payment_method", "latest_charge": DECLINED}, "open", "failed"),
        ({"status": "open", "payment_status": "unpaid"},
         {"status": "requires_action", "latest_charge": None}, "open", None),
        ({"status": "open", "payment_status": "unpaid"},
         {"status": "requires_payment_method", "latest_charge": None,
          "last_payment_error": {"code": "authentication_failed"}}, "open", "failed"),
        ({"status": "expired", "payment_status": "unpaid"}, None, "expired", None),
        ({"status": "expired", "payment_status": "unpaid"},
         {"status": "canceled", "latest_charge": None}, "expired", None),
        ({"status": "expired", "payment_status": "unpaid"},
         {"status": "canceled", "latest_charge": DECLINED}, "expired", "failed"),
        ({}, {}, "paid", "captured"),
        ({"payment_status": "unpaid"}, {"status": "processing", "latest_charge": None},
         "processing", "processing"),
        ({"payment_status": "unpaid"}, None, "processing", None),
        ({"payment_status": "unpaid"}, {"status": "requires_capture", "latest_charge": UNCAPTURED},
         "paid", "authorised"),
        ({"payment_status": "unpaid"}, {"status": "canceled", "latest_charge": RELEASED},
         "expired", "voided"),
        ({"payment_status": "unpaid"},
         {"status": "requires_payment_method", "latest_charge": DECLINED}, "expired", "failed"),
        ({}, {"latest_charge": {**CHARGE, "amount_refunded": 2400}}, "paid", "refunded"),
    ],
    ids=str,
)  # fmt: skip
async def test_stripes_words_in_the_ports(
    page: dict[str, Any], intent: dict[str, Any] | None, status: str, payment: str | None
) -> None:
    whole = None if intent is None else {**INTENT, **intent}
    body = orjson.dumps({**SESSION, **page, "payment_intent": whole})
    session = await always(body).read_session("cs_test_1")
    assert session.status == status
    assert [one.status for one in session.payments] == ([payment] if payment else [])
    for one in session.payments:
        assert (one.reference, one.session_id, one.booking_reference) == ("pi_1", "cs_test_1", "b")
        assert one.refunded <= one.captured == (2400 if status == "paid" and one.captured else 0)


async def test_part_of_an_authorised_amount_is_what_was_paid() -> None:
    part = {**INTENT, "latest_charge": {**CHARGE, "amount_captured": 1000}}
    found = await always(orjson.dumps({**SESSION, "payment_intent": part})).read_session(
        "cs_test_1"
    )
    assert [one.amount for one in found.payments] == [Money(1000, "EUR")]


@pytest.mark.parametrize(
    ("booked", "fee"),
    [
        (None, 0),
        ("txn_1", 0),
        ({"id": "txn_1", "fee": 61, "currency": "eur"}, 61),
        # Of a balance in another currency: these books cannot say it.
        ({"id": "txn_1", "fee": 70, "currency": "usd"}, 0),
        ({"id": "txn_1", "fee": -5, "currency": "eur"}, 0),
    ],
    ids=["not yet", "not asked for", "told", "another currency", "a rebate"],
)
async def test_the_fee_is_that_of_the_balance_transaction(booked: object, fee: int) -> None:
    intent = {**INTENT, "latest_charge": {**CHARGE, "balance_transaction": booked}}
    found = await always(orjson.dumps({**SESSION, "payment_intent": intent})).read_session(
        "cs_test_1"
    )
    assert [one.fee for one in found.payments] == [fee]


async def test_nothing_paid_yet_is_no_payment() -> None:
    untouched = {**INTENT, "status": "requires_payment_method", "latest_charge": None}
    with pytest.raises(NotFound):
        await always(orjson.dumps(untouched)).read_payment("pi_1")


@pytest.mark.parametrize(
    "change",
    [{"id": "cs_test_2"}, {"id": 1}, {"status": "maybe"}, {"payment_status": None},
     {"amount_total": "2400"}, {"amount_total": True}, {"amount_total": -1}, {"currency": "EUR"},
     {"url": "javascript:alert(1)"}, {"expires_at": "soon"}, {"expires_at": 10**15},
     {"payment_intent": {**INTENT, "status": "maybe"}},
     {"payment_intent": {**INTENT, "latest_charge": None}},
     {"payment_intent": {**INTENT, "latest_charge": "ch_1"}},
     {"payment_intent": {**INTENT, "latest_charge": {**CHARGE, "amount_refunded": 2401}}},
     {"payment_intent": {**INTENT, "latest_charge": UNCAPTURED}},
     {"payment_intent": {**INTENT, "currency": "isk", "latest_charge": ODD}},
     {"payment_intent": {**INTENT, "amount": 10**13}}, {"object": {}, "payment_intent": []}],
    ids=str,
)  # fmt: skip
async def test_an_answer_that_is_not_as_documented_is_unavailable(change: dict[str, Any]) -> None:
    sound = always(orjson.dumps({**SESSION, "payment_intent": INTENT, "news": 1}))
    assert (await sound.read_session("cs_test_1")).status is SessionStatus.PAID
    with pytest.raises(Unavailable):
        await always(orjson.dumps({**SESSION, **change})).read_session("cs_test_1")


@pytest.mark.parametrize(
    ("content", "status", "media_type", "error"),
    [
        (b"{", 200, "application/json", Unavailable),
        (b"", 200, "application/json", Unavailable),
        (b"[]", 200, "application/json", Unavailable),
        (b"null", 200, "application/json", Unavailable),
        (b"[" * 100_000, 200, "application/json", Unavailable),
        (b'{"a":' * 1000 + b"1" + b"}" * 1000, 200, "application/json", Unavailable),
        (b" " * 2_000_000, 200, "application/json", Unavailable),
        (b"{}", 200, "text/plain", Unavailable),
        (b"<h1>no such page", 404, "text/html", Unavailable),
        (b"{}", 503, "application/json", Unavailable),
        (b"{}", 307, "application/json", Unavailable),
        (b"{}", 404, "application/json", NotFound),
        (b'{"error": []}', 400, "application/json", Conflict),
        (b'{"error": "no"}', 400, "application/json", Conflict),
        (b"junk", 400, "application/json", Conflict),
    ],
    ids=lambda value: str(value)[:24],
)
async def test_junk_from_stripe_is_a_typed_error(
    content: bytes, status: int, media_type: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await always(content, status, media_type).read_session("cs_test_1")


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        (400, {"code": "resource_missing"}, NotFound),
        (404, {"code": "resource_missing"}, NotFound),
        (400, {"code": "rate_limit"}, Unavailable),
        (400, {"type": "idempotency_error"}, Unavailable),
        (409, {"code": "idempotency_key_in_use"}, Unavailable),
        (429, {"code": "lock_timeout"}, Unavailable),
        (401, {}, Unavailable),
        (403, {}, Unavailable),
        (402, {"type": "card_error", "code": "card_declined"}, Conflict),
        (400, {"code": "charge_already_refunded"}, Conflict),
    ],
    ids=str,
)
async def test_stripes_refusals_by_name(
    status: int, said: dict[str, str], error: type[Exception]
) -> None:
    gateway = answering(lambda _: refusal(status, said))
    with pytest.raises(error) as refused:
        await gateway.read_payment("pi_1")
    if isinstance(refused.value, Conflict):
        assert refused.value.code == "provider_refused"
        assert refused.value.data["provider_code"] == said["code"]


@pytest.mark.parametrize(
    "answer",
    [lambda _: refusal(401, {"message": f"Invalid API Key provided: {KEY}"}),
     lambda _: refusal(400, {"message": KEY, "code": "x", "type": "y"}),
     lambda _: httpx2.Response(200, content=b"{" * 9, headers={"content-type": "a/b"}),
     lambda _: httpx2.Response(200, json={"object": "x", "a": 1})],
)  # fmt: skip
async def test_no_error_shows_the_key(answer: Callable[[httpx2.Request], httpx2.Response]) -> None:
    with pytest.raises((Unavailable, Conflict)) as refused:
        await answering(answer).read_session("cs_test_1")
    shown = "".join(traceback.format_exception(refused.value)) + repr(refused.value.data)
    assert KEY not in shown
