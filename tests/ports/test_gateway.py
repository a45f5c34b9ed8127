"""What the payment port promises, shown on each adapter with the real provider behind it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import orjson
import pytest

from domain.errors import BalanceTooLow, Conflict, NotFound, Unavailable
from domain.money import Money
from domain.payment import ProviderPaymentStatus, SessionStatus
from infra.gateways.sandbox import SandboxGateway
from services.gateway import PaymentGateway
from tests.helpers.stripe_town import StripeTown
from tests.ports.conftest import PRICE, Provider, opened, pay, soon
from tests.sandbox.process import NO_FAULTS


async def test_the_gateway_has_the_name_of_its_provider(
    gateway: PaymentGateway, provider: Provider
) -> None:
    assert gateway.name == ("stripe" if isinstance(provider, StripeTown) else "sandbox")


async def test_a_session_is_opened_once_per_key(gateway: PaymentGateway) -> None:
    expires_at = soon()
    first = await opened(gateway, "once", expires_at=expires_at)
    again = await opened(gateway, "once", expires_at=expires_at)
    assert first == again
    assert (first.status, first.payments) == (SessionStatus.OPEN, ())
    if gateway.abilities.min_session_seconds:
        assert first.expires_at >= expires_at
    else:
        assert first.expires_at == expires_at
    assert first.checkout_url.startswith(("http://", "https://"))
    assert await gateway.read_session(first.session_id) == first


@pytest.mark.parametrize(
    ("outcome", "session_status", "captured"),
    [
        ("captured", SessionStatus.PAID, 2400),
        ("authorised", SessionStatus.PAID, 0),
        ("processing", SessionStatus.PROCESSING, 0),
        ("failed", SessionStatus.OPEN, 0),
    ],
)
async def test_a_payment_is_read_back_by_itself_and_with_its_session(
    gateway: PaymentGateway,
    provider: Provider,
    outcome: str,
    session_status: SessionStatus,
    captured: int,
) -> None:
    session = await opened(gateway, f"pay-{outcome}")
    payment_id = pay(provider, session, outcome)
    payment = await gateway.read_payment(payment_id)
    assert (payment.reference, payment.session_id) == (payment_id, session.session_id)
    assert payment.booking_reference == f"booking-pay-{outcome}"
    assert payment.status == ProviderPaymentStatus(outcome)
    assert (payment.amount, payment.captured, payment.refunded) == (PRICE, captured, 0)
    seen = await gateway.read_session(session.session_id)
    assert (seen.status, seen.payments) == (session_status, (payment,))


async def test_what_was_paid_is_told_and_not_what_was_asked(
    gateway: PaymentGateway, provider: Provider
) -> None:
    session = await opened(gateway, "mismatch")
    payment_id = pay(provider, session, amount=1, currency="USD")
    assert (await gateway.read_payment(payment_id)).amount == Money(1, "USD")


async def test_expiring_closes_an_open_session_and_leaves_a_paid_one(
    gateway: PaymentGateway, provider: Provider
) -> None:
    unpaid, paid = await opened(gateway, "unpaid"), await opened(gateway, "paid")
    payment_id = pay(provider, paid)
    for _ in range(2):
        closed = await gateway.expire_session(unpaid.session_id)
        assert closed.status is SessionStatus.EXPIRED
        kept = await gateway.expire_session(paid.session_id)
        assert kept.status is SessionStatus.PAID
        assert [payment.reference for payment in kept.payments] == [payment_id]


async def test_expiring_again_shows_money_that_came_since(
    gateway: PaymentGateway, provider: Provider
) -> None:
    session = await opened(gateway, "late")
    await gateway.expire_session(session.session_id)
    payment_id = pay(provider, session, force=True)
    seen = await gateway.expire_session(session.session_id)
    assert [payment.reference for payment in seen.payments] == [payment_id]


async def test_the_same_key_refunds_once(gateway: PaymentGateway, provider: Provider) -> None:
    payment_id = pay(provider, await opened(gateway, "refund"))
    part = Money(1000, "EUR")
    first = await gateway.refund(payment_id, key="back", amount=part)
    assert await gateway.refund(payment_id, key="back", amount=part) == first
    assert first.status == "succeeded"
    assert (await gateway.read_payment(payment_id)).refunded == 1000


@pytest.mark.parametrize("outcome", ["pending", "failed"])
async def test_a_refund_that_is_not_through_says_so(
    gateway: PaymentGateway, provider: Provider, outcome: str
) -> None:
    payment_id = pay(provider, await opened(gateway, f"refund-{outcome}"))
    provider.configure(refund_outcome=outcome)
    refund = await gateway.refund(payment_id, key=f"back-{outcome}", amount=PRICE)
    assert refund.status == outcome
    assert await gateway.read_refund(refund.reference) == refund


async def test_a_refund_is_read_as_it_stands_not_as_it_was_answered(
    gateway: PaymentGateway, provider: Provider
) -> None:
    payment_id = pay(provider, await opened(gateway, "refund-later"))
    provider.configure(refund_outcome="pending")
    asked = await gateway.refund(payment_id, key="back-later", amount=PRICE)
    assert (await gateway.read_refund(asked.reference)).status == "pending"
    if isinstance(provider, StripeTown):
        provider.refunds[asked.reference]["status"] = "succeeded"
    else:
        provider.post(f"/test/refunds/{asked.reference}/settle", {"outcome": "succeeded"})
    assert (await gateway.read_refund(asked.reference)).status == "succeeded"


async def test_a_balance_that_is_too_low_is_a_name_of_its_own_and_the_same_key_works_later(
    gateway: PaymentGateway, provider: Provider
) -> None:
    if isinstance(provider, StripeTown):
        pytest.skip("Stripe repeats a refusal to its key: tests/ports/test_stripe_balance.py")
    payment_id = pay(provider, await opened(gateway, "refund-low"))
    provider.configure(refund_outcome="insufficient_balance")
    with pytest.raises(BalanceTooLow):
        await gateway.refund(payment_id, key="back-low", amount=PRICE)
    assert (await gateway.read_payment(payment_id)).refunded == 0
    provider.configure(refund_outcome="succeeded")
    assert (await gateway.refund(payment_id, key="back-low", amount=PRICE)).status == "succeeded"


@pytest.mark.parametrize("end", ["won", "lost"])
async def test_a_dispute_is_told_with_its_payment(
    gateway: PaymentGateway, provider: Provider, end: str
) -> None:
    session = await opened(gateway, f"dispute-{end}")
    payment_id = pay(provider, session)
    assert (await gateway.read_payment(payment_id)).disputes == ()
    seen = []
    for outcome in ("opened", end):
        provider.dispute(payment_id, outcome)
        payment = await gateway.read_payment(payment_id)
        assert (payment.status, payment.captured) == (ProviderPaymentStatus.CAPTURED, 2400)
        assert (await gateway.read_session(session.session_id)).payments == (payment,)
        [dispute] = payment.disputes
        assert dispute.amount == PRICE
        seen.append((dispute.reference, dispute.status))
    assert [status for _, status in seen] == ["open", end]
    assert len({reference for reference, _ in seen}) == 1


@pytest.mark.parametrize("amount", [Money(2401, "EUR"), Money(1, "USD")])
async def test_a_refund_the_provider_refuses_is_a_conflict(
    gateway: PaymentGateway, provider: Provider, amount: Money
) -> None:
    payment_id = pay(provider, await opened(gateway, f"refuse-{amount.currency}"))
    with pytest.raises(Conflict) as refused:
        await gateway.refund(payment_id, key=f"refused-{amount.currency}", amount=amount)
    assert refused.value.code == "provider_refused"
    too_much = "exceeds_captured" if gateway.name == "sandbox" else None
    assert refused.value.data["provider_code"] in (too_much, "wrong_currency")


@pytest.mark.parametrize("unknown", ["none", "", "../test/ledger", "a/b", "a?b", "é", "x" * 500])
async def test_an_unknown_or_impossible_id_is_not_found(
    gateway: PaymentGateway, unknown: str
) -> None:
    for call in (
        gateway.read_session(unknown),
        gateway.expire_session(unknown),
        gateway.read_payment(unknown),
        gateway.read_refund(unknown),
        gateway.refund(unknown, key="k-refund", amount=PRICE),
    ):
        with pytest.raises(NotFound):
            await call


@pytest.mark.parametrize(
    "faults",
    [{"error_rate": 1}, {"respond": "html"}, {"respond": "redirect"}, {"respond": "429"}],
    ids=str,
)
async def test_a_provider_in_trouble_is_unavailable_and_a_retry_finds_the_one_effect(
    gateway: PaymentGateway, provider: Provider, faults: dict[str, Any]
) -> None:
    name = "-".join(str(value) for value in faults.values())
    payment_id = pay(provider, await opened(gateway, f"trouble-{name}"))
    provider.configure(fail_after_effect=True, **faults)
    with pytest.raises(Unavailable):
        await gateway.refund(payment_id, key=f"back-{name}", amount=Money(100, "EUR"))
    provider.configure(**NO_FAULTS)
    await gateway.refund(payment_id, key=f"back-{name}", amount=Money(100, "EUR"))
    assert (await gateway.read_payment(payment_id)).refunded == 100


async def test_a_provider_that_hangs_is_unavailable_within_six_seconds(
    gateway: PaymentGateway, provider: Provider
) -> None:
    provider.configure(hang_ms=60_000)
    async with asyncio.timeout(6):
        with pytest.raises(Unavailable):
            await gateway.read_payment("none")


async def test_a_provider_that_is_not_there_is_unavailable() -> None:
    gateway = SandboxGateway("http://127.0.0.1:1")
    with pytest.raises(Unavailable):
        await gateway.read_session("ses_1")
    await gateway.aclose()


SESSION: dict[str, Any] = {
    "id": "ses_1",
    "status": "paid",
    "amount": 2400,
    "currency": "EUR",
    "reference": "b",
    "url": "http://pay.test/ses_1",
    "expires_at": "2030-01-01T00:00:00Z",
    "payments": [],
}
PAYMENT: dict[str, Any] = {
    "id": "pay_1",
    "session_id": "ses_1",
    "reference": "b",
    "status": "captured",
    "amount": 2400,
    "currency": "EUR",
    "captured": 2400,
    "refunded": 0,
}


DISPUTE: dict[str, Any] = {"id": "dsp_1", "status": "open", "amount": 2400, "currency": "EUR"}


def answering(content: bytes, status: int = 200, media_type: str = "application/json") -> Any:
    """A gateway whose provider always answers so."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, content=content, headers={"content-type": media_type})

    return SandboxGateway("http://provider.test", httpx2.MockTransport(answer))


@pytest.mark.parametrize(
    "change",
    [
        {"id": "ses_2"},
        {"id": 1},
        {"id": "../x"},
        {"status": "maybe"},
        {"amount": "2400"},
        {"amount": 2400.0},
        {"amount": True},
        {"amount": -1},
        {"currency": "euro"},
        {"url": "javascript:alert(1)"},
        {"url": "http://pay.test/a\nb"},
        {"expires_at": "2030-01-01T00:00:00"},
        {"expires_at": 1},
        {"payments": None},
        {"payments": [{**PAYMENT, "session_id": "ses_2"}]},
        {"payments": [{**PAYMENT, "captured": 2401}]},
        {"payments": [{**PAYMENT, "refunded": 2401}]},
        {"payments": [{**PAYMENT, "status": "open"}]},
        {"payments": [{**PAYMENT, "disputes": [{**DISPUTE, "status": "maybe"}]}]},
        {"payments": [{**PAYMENT, "disputes": [{**DISPUTE, "amount": 0}]}]},
    ],
    ids=str,
)
async def test_an_answer_that_is_not_as_documented_is_unavailable(change: dict[str, Any]) -> None:
    sound = answering(orjson.dumps({**SESSION, "payments": [PAYMENT], "news": 1}))
    assert (await sound.read_session("ses_1")).status is SessionStatus.PAID
    with pytest.raises(Unavailable):
        await answering(orjson.dumps({**SESSION, **change})).read_session("ses_1")


@pytest.mark.parametrize(
    ("content", "status", "media_type", "error"),
    [
        (b"{", 200, "application/json", Unavailable),
        (b"", 200, "application/json", Unavailable),
        (b"[" * 100_000, 200, "application/json", Unavailable),
        (b" " * 2_000_000, 200, "application/json", Unavailable),
        (b"{}", 200, "text/plain", Unavailable),
        (b"<h1>no such page", 404, "text/html", Unavailable),
        (b"{}", 404, "application/json", NotFound),
        (b"junk", 400, "application/json", Conflict),
        (b'{"error": []}', 401, "application/json", Conflict),
        (b"{}", 503, "application/json", Unavailable),
    ],
)
async def test_junk_from_the_provider_is_a_typed_error(
    content: bytes, status: int, media_type: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await answering(content, status, media_type).read_session("ses_1")


async def test_a_session_for_another_wish_is_not_taken() -> None:
    gateway = answering(orjson.dumps({**SESSION, "amount": 1}))
    with pytest.raises(Unavailable):
        await opened(gateway, "other", booking_id="b")


async def test_a_redirect_is_not_followed_even_to_a_sound_answer() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "provider.test":
            return httpx2.Response(307, headers={"location": "http://elsewhere.test/"})
        return httpx2.Response(200, json=SESSION)

    gateway = SandboxGateway("http://provider.test", httpx2.MockTransport(answer))
    with pytest.raises(Unavailable):
        await gateway.read_session("ses_1")


async def test_an_answer_that_trickles_ends_in_time() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.1)  # the behaviour under test, not a wait
        await writer.wait_closed()

    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        gateway = SandboxGateway(f"http://127.0.0.1:{port}")
        async with asyncio.timeout(6):
            with pytest.raises(Unavailable):
                await gateway.read_session("ses_1")
        await gateway.aclose()
