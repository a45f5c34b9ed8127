"""What Stripe did not sign never passes; whatever it is, it is refused by name."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import Invalid, Unauthenticated
from infra.gateways.stripe import StripeGateway
from infra.gateways.stripe_webhooks import StripeWebhooks
from tests.helpers.stripe_events import KINDS, OTHER, PREVIOUS, SECRET, event, signed

VERIFIER = StripeWebhooks([SECRET], live=False)
BODY = event("checkout.session.completed")
MAIL, NAME = "canary@example.test", "Canary Lovelace"
PERSON = {"email": MAIL, "name": NAME, "phone": "+4915100000000", "address": {"line1": NAME}}
# Where Stripe documents a buyer's details in the objects of its events.
PERSONAL = {
    "customer": {"id": "cus_1", "email": MAIL, "name": NAME},
    "customer_details": PERSON,
    "customer_email": MAIL,
    "receipt_email": MAIL,
    "billing_details": PERSON,
    "shipping": PERSON,
    "collected_information": {"shipping_details": PERSON},
    "custom_fields": [{"key": "name", "text": {"value": NAME}}],
    "evidence": {"customer_email_address": MAIL, "customer_name": NAME},
    "metadata": {"name": NAME},
    "description": NAME,
    "payment_method_details": {"card": {"last4": "4242"}},
    "client_secret": "pi_1_secret_1",
}


def refusal(headers: dict[str, str], body: bytes, verifier: StripeWebhooks = VERIFIER) -> str:
    with pytest.raises((Unauthenticated, Invalid)) as refused:
        verifier.verify(headers, body)
    return refused.value.code


def test_the_documented_events_are_all_here() -> None:
    assert KINDS == [
        "charge.dispute.created",
        "charge.refunded",
        "checkout.session.completed",
        "checkout.session.expired",
        "payment_intent.payment_failed",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_signed_event_is_read(kind: str) -> None:
    body = event(kind)
    found = VERIFIER.verify(signed(body), body)
    told = orjson.loads(body)
    assert (found.event_id, found.event_type) == (told["id"], kind)
    assert found.quarantine is None


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_kept_of_an_event_serves_its_gateway_as_the_whole_did(kind: str) -> None:
    gateway, body = StripeGateway("sk_test_theKeyOfTheTests"), event(kind)
    found = VERIFIER.verify(signed(body), body)
    whole, kept = orjson.loads(body), orjson.loads(found.kept)
    assert gateway.says_captured(kept) is gateway.says_captured(whole)
    for name in ("id", "object", "payment_intent", "payment_status"):
        assert kept["data"]["object"].get(name) == whole["data"]["object"].get(name)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_tells_of_the_buyer_is_kept(kind: str) -> None:
    told = orjson.loads(event(kind))
    thing = told["data"]["object"]
    thing |= PERSONAL
    thing["payment_intent"] = {"id": "pi_1", "receipt_email": MAIL, "shipping": {"name": NAME}}
    thing["charge"] = NAME
    told["data"]["previous_attributes"] = {"receipt_email": MAIL}
    body = orjson.dumps(told)
    found = VERIFIER.verify(signed(body), body)
    for word in (MAIL, NAME, "4242", "secret", "insufficient"):
        assert word.encode() not in found.kept
    assert orjson.loads(found.kept)["data"]["object"]["payment_intent"] == "pi_1"


@pytest.mark.parametrize("data", [{}, {"object": None}, {"object": "x"}, {"object": {"id": []}}])
def test_what_is_kept_of_an_odd_event_is_an_event(data: dict[str, Any]) -> None:
    body = event("charge.refunded", data=data)
    kept = orjson.loads(VERIFIER.verify(signed(body), body).kept)
    assert kept["data"] in ({}, {"object": {}})


@pytest.mark.parametrize("kind", KINDS)
def test_the_library_signs_the_same_way(kind: str) -> None:
    import stripe

    text = event(kind).decode()
    header = stripe.WebhookSignature.generate_signature_header(text, SECRET)
    assert VERIFIER.verify({"Stripe-Signature": header}, text.encode()).event_type == kind


@pytest.mark.parametrize(
    ("event_live", "ours_live", "reason"),
    [
        (False, False, None),
        (True, True, None),
        (True, False, "a live event in test mode"),
        (False, True, "a test-mode event in live mode"),
    ],
)
def test_an_event_of_the_other_mode_is_quarantined(
    event_live: bool, ours_live: bool, reason: str | None
) -> None:
    body = event("checkout.session.completed", livemode=event_live)
    found = StripeWebhooks([SECRET], live=ours_live).verify(signed(body), body)
    assert found.quarantine == reason


def test_two_secrets_live_while_they_rotate_and_no_third() -> None:
    rotating = StripeWebhooks([SECRET, PREVIOUS], live=False)
    for secret in (SECRET, PREVIOUS):
        assert rotating.verify(signed(BODY, secret=secret), BODY).event_id
    assert refusal(signed(BODY, secret=OTHER), BODY, rotating) == "invalid_signature"
    assert refusal(signed(BODY, secret=PREVIOUS), BODY) == "invalid_signature"


def test_one_fitting_signature_among_several_is_enough() -> None:
    old, new = signed(BODY, secret=OTHER), signed(BODY)
    both = old["stripe-signature"] + "," + new["stripe-signature"].split(",")[1]
    assert VERIFIER.verify({"stripe-signature": both}, BODY).event_id


def test_a_signature_of_another_scheme_is_none() -> None:
    only_v0 = signed(BODY)["stripe-signature"].replace("v1=", "v2=")
    assert refusal({"stripe-signature": only_v0}, BODY) == "invalid_signature"


@pytest.mark.parametrize(
    ("age", "passes"), [(295, True), (-295, True), (305, False), (-305, False), (10**8, False)]
)
def test_the_timestamp_may_be_300_seconds_off(age: int, passes: bool) -> None:
    headers = signed(BODY, age=age)
    if passes:
        assert VERIFIER.verify(headers, BODY).event_id
    else:
        assert refusal(headers, BODY) == "invalid_signature"


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_changed_by_one_byte_is_refused(kind: str) -> None:
    body, rng = event(kind), random.Random(kind)
    headers = signed(body)
    for _ in range(200):
        place = rng.randrange(len(body))
        changed = body[:place] + bytes([body[place] ^ (1 + rng.randrange(255))]) + body[place + 1 :]
        assert refusal(headers, changed) in ("invalid_signature", "malformed")
    for changed in (body[:-1], body + b"\n", body[1:]):
        assert refusal(headers, changed) == "invalid_signature"


@pytest.mark.parametrize(
    "value",
    [None, "", " ", "nonsense", "t=1", "v1=00", "t=,v1=", "t=x,v1=00", "t=-1,v1=00", "t=1,v1=é",
     "t=1,v1=\x00", "\x00", "t=1,t=2,v1=00", "t=1,v1=00,t=2", "t=01,v1=00", "t=1,v1=00\n",
     "t=\u0663,v1=00", "t=" + "9" * 13 + ",v1=00", "t=1," + "v1=00," * 50, "t=1,v1=" + "0" * 10**5,
     "\udc80"],
)  # fmt: skip
def test_a_missing_or_unreadable_header_is_malformed(value: str | None) -> None:
    headers = {} if value is None else {"stripe-signature": value}
    assert refusal(headers, BODY) == "malformed"


EVENT: dict[str, Any] = orjson.loads(BODY)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"7", b'"x"', b"NaN", b"\x00", BODY + b"\x00", b"[" * 200_000,
     b'{"a":' * 200_000, b'{"id": "evt_1", "type": "\\ud800"}', b"\xff\xfe" + BODY,
     BODY.decode().encode("utf-16"), b"\xef\xbb\xbf" + BODY],
    ids=lambda body: body[:20],
)  # fmt: skip
def test_well_signed_junk_is_malformed(body: bytes) -> None:
    assert refusal(signed(body), body) == "malformed"


@pytest.mark.parametrize(
    "change",
    [{"id": None}, {"id": 7}, {"id": "evt\x00"}, {"id": "x" * 200}, {"type": None}, {"type": []},
     {"type": "a b"}, {"livemode": None}, {"livemode": "false"}, {"livemode": 0}, {"data": None},
     {"data": []}],
    ids=str,
)  # fmt: skip
def test_a_signed_object_that_is_no_event_is_malformed(change: dict[str, Any]) -> None:
    body = orjson.dumps({**EVENT, **change})
    assert refusal(signed(body), body) == "malformed"


def test_unsigned_junk_is_not_parsed() -> None:
    assert refusal(signed(BODY), b"{") == "invalid_signature"


def test_without_secrets_nothing_passes_and_a_blank_one_is_refused() -> None:
    assert refusal(signed(BODY), BODY, StripeWebhooks([], live=False)) == "invalid_signature"
    for blank in ("", "  "):
        with pytest.raises(ValueError, match="secret is empty"):
            StripeWebhooks([SECRET, blank], live=False)


@settings(deadline=None)
@given(
    header=st.one_of(
        st.text(), st.from_regex(r"t=[0-9]{0,14}(,v[01]=[0-9a-f]{0,70}){0,3}", fullmatch=True)
    ),
    body=st.binary(max_size=200),
)
def test_arbitrary_input_is_refused_with_a_typed_error(header: str, body: bytes) -> None:
    assert refusal({"stripe-signature": header}, body) in ("invalid_signature", "malformed")
