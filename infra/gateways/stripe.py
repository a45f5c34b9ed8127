"""Stripe behind the payment port: Checkout Sessions, their PaymentIntents, refunds."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx2
import orjson
import stripe
from stripe.params import RefundCreateParams
from stripe.params.checkout import SessionCreateParams

from domain.errors import Conflict, NotFound
from domain.money import Money
from domain.payment import (
    ProviderDispute,
    ProviderPayment,
    ProviderRefund,
    ProviderSession,
    SessionStatus,
)
from infra.gateways.stripe_answers import (
    DisputeList,
    IntentAnswer,
    RefundAnswer,
    SessionAnswer,
    SessionList,
    from_stripe,
    to_stripe,
)
from infra.gateways.wire import (
    ID,
    TIMEOUTS,
    Shape,
    checked_id,
    error_field,
    exchange,
    require_success,
    understand,
    unusable,
)
from services.gateway import Abilities

API = "https://api.stripe.com"
# The library and the endpoint's events may be upgraded apart from each other; this stays.
API_VERSION = "2026-10-28.endive"
KEY = re.compile(r"(?:sk|rk)_(?:test|live)_[A-Za-z0-9_]{1,250}")
MIN_SESSION_SECONDS = 30 * 60
# Stripe's shortest life, and half an hour in which a repeat of the opening is still taken.
SESSION_OUTLIVES_HOLD = timedelta(seconds=2 * MIN_SESSION_SECONDS)
EXPAND = ["payment_intent.latest_charge"]
REPLAYED = "idempotent-replayed"
ABILITIES = Abilities(
    can_void=True,
    min_session_seconds=MIN_SESSION_SECONDS,
    settles_later=True,
    manual_capture=True,
)


def is_live(api_key: str) -> bool:
    """Whether the key moves real money.

    Raises:
        ValueError: it is not the shape of a secret or restricted key; it is not in the text.
    """
    if not KEY.fullmatch(api_key):
        raise ValueError("the Stripe key must be a secret or restricted one: sk_… or rk_…")
    return api_key[3:].startswith("live_")


class StripeGateway:
    """:class:`services.gateway.PaymentGateway` over Stripe's API, at one pinned version.

    Beside what the port names, a call raises :class:`domain.errors.Conflict`
    ``provider_refused`` when Stripe says a clear no. A key that it does not accept is
    ``Unavailable``: nothing was done, and the same call works once the key is mended.

    Raises:
        ValueError: the key is none.
    """

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str = API,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        is_live(api_key)
        # No measurements of ours for Stripe; and its log names buyers at DEBUG.
        stripe.enable_telemetry = False
        logging.getLogger("stripe").setLevel(logging.WARNING)
        self._http = HttpClient(transport or httpx2.AsyncHTTPTransport(trust_env=False))
        client = stripe.StripeClient(
            api_key,
            stripe_version=API_VERSION,
            base_addresses={"api": base_url},
            http_client=self._http,
            max_network_retries=0,  # our callers retry, with a back-off that survives a crash
        )
        self._sessions = client.v1.checkout.sessions
        self._intents = client.v1.payment_intents
        self._refunds = client.v1.refunds
        self._disputes = client.v1.disputes

    @property
    def name(self) -> str:
        return "stripe"

    @property
    def abilities(self) -> Abilities:
        return ABILITIES

    async def aclose(self) -> None:
        await self._http.close_async()

    async def open_session(
        self, *, key: str, booking_id: str, amount: Money, return_url: str, expires_at: datetime
    ) -> ProviderSession:
        # Nothing here may depend on the time of the call: a repeat of the key must ask the same.
        names = {"booking_id": booking_id, "payment_id": key}
        wish: SessionCreateParams = {
            "mode": "payment",
            "client_reference_id": booking_id,
            "metadata": names,
            "payment_intent_data": {"metadata": names},
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": amount.currency.lower(),
                        "unit_amount": to_stripe(amount),
                        "product_data": {"name": "Tickets"},
                    },
                }
            ],
            "success_url": return_url,
            "cancel_url": return_url,
            "expires_at": int((expires_at + SESSION_OUTLIVES_HOLD).timestamp()),
            # Else a buyer from abroad pays another amount in another currency.
            "adaptive_pricing": {"enabled": False},
        }
        opened, _ = await self._ask(
            SessionAnswer, self._sessions.create_async(wish, {"idempotency_key": key})
        )
        asked = (to_stripe(amount), amount.currency.lower(), booking_id)
        if (opened.amount_total, opened.currency, opened.client_reference_id) != asked:
            raise unusable("the session is not the one that was asked for")
        return opened.as_session()

    async def read_session(self, session_id: str) -> ProviderSession:
        call = self._sessions.retrieve_async(checked_id(session_id), {"expand": EXPAND})
        return await self._same_session(session_id, *await self._ask(SessionAnswer, call))

    async def expire_session(self, session_id: str, *, key: str) -> ProviderSession:
        # `key` is not sent: Stripe would replay the first answer to it, hiding money come since.
        call = self._sessions.expire_async(checked_id(session_id), {"expand": EXPAND})
        try:
            return await self._same_session(session_id, *await self._ask(SessionAnswer, call))
        except Conflict:
            # Only an open one can be expired; what has become of it is read.
            session = await self.read_session(session_id)
            if session.status is SessionStatus.OPEN:
                raise
            return session

    async def read_payment(self, reference: str) -> ProviderPayment:
        """The PaymentIntent; its session is looked up, and empty when it has none.

        Raises:
            NotFound: there is none, or nobody has tried to pay it yet.
        """
        intent = await self._intent(reference)
        payment = intent.as_payment("")
        if payment is None:
            raise NotFound("Nothing was paid on this yet.")
        session_id = await self._session_of_intent(reference) or ""
        return replace(payment, session_id=session_id, disputes=await self._disputes_of(intent))

    async def refund(self, reference: str, *, key: str, amount: Money) -> ProviderRefund:
        # Stripe refunds in the payment's currency whatever was meant, so that is asked first.
        currency = (await self._intent(reference)).currency
        if currency != amount.currency.lower():
            raise Conflict(
                f"The payment was in {currency.upper()}.",
                code="provider_refused",
                provider_code="wrong_currency",
            )
        wish: RefundCreateParams = {"payment_intent": reference, "amount": to_stripe(amount)}
        answer, is_replay = await self._ask(
            RefundAnswer, self._refunds.create_async(wish, {"idempotency_key": key})
        )
        if is_replay:  # as it was when the key came first; it may have settled or failed since
            answer, _ = await self._ask(RefundAnswer, self._refunds.retrieve_async(answer.id))
        given = (answer.payment_intent, from_stripe(answer.amount, answer.currency))
        if given != (reference, amount):
            raise unusable("the refund is not the one that was asked for")
        return ProviderRefund(reference=answer.id, status=answer.outcome)

    async def read_refund(self, reference: str) -> ProviderRefund:
        answer, _ = await self._ask(
            RefundAnswer, self._refunds.retrieve_async(checked_id(reference))
        )
        if answer.id != reference:
            raise unusable("the refund is not the one that was asked for")
        return ProviderRefund(reference=answer.id, status=answer.outcome)

    async def session_id_of(self, event: Mapping[str, Any]) -> str | None:
        """As the port says. Events of charges, refunds and disputes name only the PaymentIntent."""
        data = event.get("data")
        thing = data.get("object") if isinstance(data, dict) else None
        if not isinstance(thing, dict):
            return None
        kind = thing.get("object")
        if kind == "checkout.session":
            return _id(thing.get("id"))
        intent = _id(thing.get("id" if kind == "payment_intent" else "payment_intent"))
        return await self._session_of_intent(intent) if intent else None

    async def _intent(self, reference: str) -> IntentAnswer:
        call = self._intents.retrieve_async(checked_id(reference), {"expand": ["latest_charge"]})
        intent, _ = await self._ask(IntentAnswer, call)
        if intent.id != reference:
            raise unusable("the payment is not the one that was asked for")
        return intent

    async def _session_of_intent(self, intent: str) -> str | None:
        call = self._sessions.list_async({"payment_intent": intent, "limit": 1})
        found, _ = await self._ask(SessionList, call)
        return found.data[0].id if found.data else None

    async def _same_session(
        self, session_id: str, answer: SessionAnswer, _: bool
    ) -> ProviderSession:
        if answer.id != session_id:
            raise unusable("the session is not the one that was asked for")
        session = answer.as_session()
        if answer.intent is None or not answer.intent.is_disputed:
            return session
        disputes = await self._disputes_of(answer.intent)
        return replace(
            session, payments=tuple(replace(paid, disputes=disputes) for paid in session.payments)
        )

    async def _disputes_of(self, intent: IntentAnswer) -> tuple[ProviderDispute, ...]:
        """Asked only where the charge says that there are any."""
        if not intent.is_disputed:
            return ()
        call = self._disputes.list_async({"payment_intent": intent.id, "limit": 100})
        found, _ = await self._ask(DisputeList, call)
        if any(one.payment_intent != intent.id for one in found.data):
            raise unusable("the disputes are not those that were asked for")
        return tuple(one.as_dispute() for one in found.data)

    def says_captured(self, event: Mapping[str, Any]) -> bool:
        kind = event.get("type")
        if kind == "checkout.session.completed":
            data = event.get("data")
            page = data.get("object") if isinstance(data, dict) else None
            return isinstance(page, dict) and page.get("payment_status") == "paid"
        return kind == "checkout.session.async_payment_succeeded"

    async def _ask(
        self, shape: type[Shape], call: Awaitable[stripe.StripeObject]
    ) -> tuple[Shape, bool]:
        """The answer in ``shape``, and whether it is a replay of an earlier one."""
        try:
            answer = (await call).last_response
        except (stripe.StripeError, RecursionError) as error:
            # Not `from error`: what the library raises may quote what was sent.
            raise unusable(f"the answer cannot be read ({type(error).__name__})") from None
        if answer is None or not isinstance(answer, stripe.StripeResponse):
            raise unusable("there is no answer")
        return understand(shape, answer.body), answer.headers.get(REPLAYED) == "true"


class HttpClient(stripe.HTTPClient):
    """The library's way to the network: one bounded call, no redirect; errors are the port's."""

    name = "httpx2"

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        super().__init__()
        self._transport = transport

    async def request_async(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        post_data: str | None = None,
    ) -> tuple[bytes, int, Mapping[str, str]]:
        request = httpx2.Request(
            method.upper(),
            url,
            headers={**headers, "accept-encoding": "identity"},
            content=post_data,
            extensions=TIMEOUTS,
        )
        answer, body = await exchange(self._transport, request)
        _require_success(answer, body)
        return body, answer.status_code, {REPLAYED: answer.headers.get(REPLAYED, "")}

    async def close_async(self) -> None:
        await self._transport.aclose()


def _require_success(answer: httpx2.Response, body: bytes) -> None:
    """As :func:`infra.gateways.wire.require_success`, with Stripe's own habits before it."""
    status = answer.status_code
    if status in (401, 403):
        raise unusable("it does not accept our key", retry_after=60)
    if 400 <= status < 500:
        code, kind = error_field(body, "code"), error_field(body, "type")
        if status == 409 or code == "rate_limit" or kind == "idempotency_error":
            raise unusable(f"it answered {status} {code or kind or ''}".rstrip())
        if code == "resource_missing":
            raise NotFound("The payment provider knows no such thing.")
    require_success(answer, body)
    try:
        is_object = isinstance(orjson.loads(body), dict)
    except orjson.JSONDecodeError:
        is_object = False
    if not is_object:
        raise unusable("the answer is not a JSON object")


def _id(value: object) -> str | None:
    """An id of Stripe's, also of a thing that is there in full."""
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) and ID.fullmatch(value) else None
