"""Stripe behind the payment port: Checkout Sessions, their PaymentIntents, refunds."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx2
import stripe
from stripe.params import (
    PaymentIntentCancelParams,
    PaymentIntentCaptureParams,
    RefundCreateParams,
    RefundListParams,
)
from stripe.params.checkout import SessionCreateParams, SessionCreateParamsPaymentIntentData

from domain.errors import BalanceTooLow, Conflict, NotFound
from domain.money import Money
from domain.payment import (
    PaymentPage,
    ProviderDispute,
    ProviderPayment,
    ProviderRefund,
    ProviderSession,
    SessionStatus,
)
from domain.payment_policy import PaymentMode
from infra.gateways.stripe_answers import (
    REFUND_KEY,
    DisputeList,
    IntentAnswer,
    RefundAnswer,
    RefundList,
    SessionAnswer,
    SessionList,
    to_stripe,
)
from infra.gateways.stripe_http import REPLAYED, HttpClient
from infra.gateways.stripe_lists import EXPAND_CHARGE, changed, read_intent
from infra.gateways.wire import (
    ID,
    Shape,
    checked_id,
    ended_before,
    understand,
    unusable,
)
from infra.transport import bare_transport
from services.gateway import Abilities

API = "https://api.stripe.com"
# The library and the endpoint's events may be upgraded apart from each other; this stays.
API_VERSION = "2026-10-28.endive"
KEY = re.compile(r"(?:sk|rk)_(?:test|live)_[A-Za-z0-9_]{1,250}")
MIN_SESSION_SECONDS = 30 * 60
# Stripe's shortest life, and half an hour in which a repeat of the opening is still taken.
SESSION_OUTLIVES_HOLD = timedelta(seconds=2 * MIN_SESSION_SECONDS)
REFUNDS_AT_MOST = 100
EXPAND = [f"payment_intent.{EXPAND_CHARGE}"]
# Hourly tries of the day for which a refusal is repeated, and some by hand.
MAX_TURNS = 60
# The things that a payment is made of. An endpoint may be sent events of hundreds of others.
TELL_OF_MONEY = ("checkout.session", "payment_intent", "charge", "refund", "dispute")
ABILITIES = Abilities(
    can_void=True,
    min_session_seconds=MIN_SESSION_SECONDS,
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
        self._http = HttpClient(transport or bare_transport())
        self._client = stripe.StripeClient(
            api_key,
            stripe_version=API_VERSION,
            base_addresses={"api": base_url},
            http_client=self._http,
            max_network_retries=0,  # our callers retry, with a back-off that survives a crash
        )
        self._sessions = self._client.v1.checkout.sessions
        self._intents = self._client.v1.payment_intents
        self._refunds = self._client.v1.refunds
        self._disputes = self._client.v1.disputes

    @property
    def name(self) -> str:
        return "stripe"

    @property
    def abilities(self) -> Abilities:
        return ABILITIES

    async def aclose(self) -> None:
        await self._http.close_async()

    async def open_session(
        self,
        *,
        key: str,
        booking_id: str,
        amount: Money,
        return_url: str,
        expires_at: datetime,
        mode: PaymentMode = PaymentMode.CAPTURE,
    ) -> ProviderSession:
        # Nothing here may depend on the time of the call: a repeat of the key must ask the same.
        names = {"booking_id": booking_id, "payment_id": key}
        intent: SessionCreateParamsPaymentIntentData = {"metadata": names}
        if mode is PaymentMode.AUTHORISE:
            intent["capture_method"] = "manual"
        wish: SessionCreateParams = {
            "mode": "payment",
            "client_reference_id": booking_id,
            "metadata": names,
            "payment_intent_data": intent,
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

    async def expire_session(self, session_id: str) -> ProviderSession:
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

    async def capture(self, reference: str, *, key: str) -> ProviderPayment:
        wish: PaymentIntentCaptureParams = {"expand": [EXPAND_CHARGE]}
        call = self._intents.capture_async(checked_id(reference), wish, {"idempotency_key": key})
        return await self._end(reference, "capture", call)

    async def void(self, reference: str, *, key: str) -> ProviderPayment:
        wish: PaymentIntentCancelParams = {"expand": [EXPAND_CHARGE]}
        call = self._intents.cancel_async(checked_id(reference), wish, {"idempotency_key": key})
        return await self._end(reference, "void", call)

    async def refund(self, reference: str, *, key: str, amount: Money) -> ProviderRefund:
        # Stripe refunds in the payment's currency whatever was meant, so that is asked first.
        currency = (await self._intent(reference)).currency
        if currency != amount.currency.lower():
            raise Conflict(
                f"The payment was in {currency.upper()}.",
                code="provider_refused",
                provider_code="wrong_currency",
            )
        # Stripe forgets a key after a day; what was sent under it before is found by its name.
        for known in await self.list_refunds(reference):
            if known.key == key:
                return _same_refund(known, amount)
        wish: RefundCreateParams = {
            "payment_intent": reference,
            "amount": to_stripe(amount),
            "metadata": {REFUND_KEY: key},
        }
        answer, is_replay = await self._refund(wish, key)
        if is_replay:  # as it was when the key came first; it may have settled or failed since
            answer, _ = await self._ask(RefundAnswer, self._refunds.retrieve_async(answer.id))
        if answer.payment_intent != reference:
            raise unusable("the refund is not the one that was asked for")
        return _same_refund(answer.as_refund(), amount)

    async def _refund(self, wish: RefundCreateParams, key: str) -> tuple[RefundAnswer, bool]:
        """Ask under ``key``, and after a replayed "balance too low" under the next one of it.

        Stripe repeats a refusal to its key for a day, however much money has come since. A key
        that was refused had no effect and never will have, so one of them has it at most.
        """
        for turn in range(MAX_TURNS):
            used = f"{key}:again:{turn}" if turn else key
            try:
                return await self._ask(
                    RefundAnswer, self._refunds.create_async(wish, {"idempotency_key": used})
                )
            except BalanceTooLow as error:
                if not error.data["is_replay"]:
                    raise
        raise unusable("its balance was too low too often", retry_after=3600)

    async def read_refund(self, reference: str) -> ProviderRefund:
        answer, _ = await self._ask(
            RefundAnswer, self._refunds.retrieve_async(checked_id(reference))
        )
        if answer.id != reference:
            raise unusable("the refund is not the one that was asked for")
        return ProviderRefund(reference=answer.id, status=answer.outcome)

    async def list_payments(self, since: datetime, cursor: str | None = None) -> PaymentPage:
        """Those that are new, then those of new disputes, new refunds, and refunds that failed.

        Intents that nobody has tried to pay are left out; the lists do not name the pages.
        """
        intents, following = await changed(self._client, self._ask, since, cursor)
        found = [
            replace(paid, disputes=await self._disputes_of(intent))
            for intent in intents
            if (paid := intent.as_payment("")) is not None
        ]
        return PaymentPage(tuple(found), following)

    async def list_refunds(self, reference: str) -> list[ProviderRefund]:
        """At most a hundred: a payment with more is ``Unavailable``, for a person to look at."""
        wish: RefundListParams = {"payment_intent": checked_id(reference), "limit": REFUNDS_AT_MOST}
        answer, _ = await self._ask(RefundList, self._refunds.list_async(wish))
        if answer.has_more or any(one.payment_intent != reference for one in answer.data):
            raise unusable("the refunds are not those of one payment")
        return [refund.as_refund() for refund in answer.data]

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

    async def _end(
        self, reference: str, how: str, call: Awaitable[stripe.StripeObject]
    ) -> ProviderPayment:
        """End an authorisation. Stripe replays what it answered to a key first, so it is read."""
        try:
            await self._ask(IntentAnswer, call)
        except Conflict:
            return ended_before(await self.read_payment(reference), how)
        return await self.read_payment(reference)

    async def _intent(self, reference: str) -> IntentAnswer:
        return await read_intent(self._client, self._ask, reference)

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

    def is_about_money(self, event: Mapping[str, Any]) -> bool:
        data = event.get("data")
        thing = data.get("object") if isinstance(data, dict) else None
        kind = thing.get("object") if isinstance(thing, dict) else None
        return not isinstance(kind, str) or kind in TELL_OF_MONEY

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


def _same_refund(answer: ProviderRefund, amount: Money) -> ProviderRefund:
    if answer.amount != amount:
        raise unusable("the refund is not the one that was asked for")
    return ProviderRefund(reference=answer.reference, status=answer.status)


def _id(value: object) -> str | None:
    """An id of Stripe's, also of a thing that is there in full."""
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) and ID.fullmatch(value) else None
