"""What is not signed as it should be never passes, and never breaks the verifier."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from domain.errors import Invalid, Unauthenticated
from infra.gateways.events import VerifiedEvent
from infra.gateways.webhooks import StandardWebhooks

SECRET = "whsec_" + base64.b64encode(b"the current secret of the tests!").decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"the secret before the rotation!!").decode()
FOREIGN_SECRET = "whsec_" + base64.b64encode(b"somebody else's secret, not ours").decode()
EVENT = {"type": "payment.captured", "timestamp": "2026-01-01T00:00:00Z", "data": {"a": 1}}
BODY = orjson.dumps(EVENT)

Signed = tuple[dict[str, str], bytes]


def sign(body: bytes = BODY, *, secret: str = SECRET, age_seconds: int = 0) -> Signed:
    at = datetime.now(UTC) - timedelta(seconds=age_seconds)
    headers = {
        "webhook-id": "evt_123",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("evt_123", at, body.decode()),
    }
    return headers, body


def refusal_code(headers: dict[str, str], body: bytes) -> str:
    with pytest.raises((Unauthenticated, Invalid)) as refused:
        StandardWebhooks([SECRET]).verify(headers, body)
    return refused.value.code


def test_a_signed_event_is_read() -> None:
    headers, body = sign()
    event = StandardWebhooks([SECRET]).verify(headers, body)
    assert event == VerifiedEvent("evt_123", "payment.captured", kept=body)


def test_header_names_may_be_in_any_case() -> None:
    headers, body = sign()
    shouted = {name.upper(): value for name, value in headers.items()}
    assert StandardWebhooks([SECRET]).verify(shouted, body).event_id == "evt_123"


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
def test_either_secret_passes_while_they_rotate(secret: str) -> None:
    headers, body = sign(secret=secret)
    assert StandardWebhooks([SECRET, OLD_SECRET]).verify(headers, body).event_id == "evt_123"


def test_one_fitting_signature_among_several_is_enough() -> None:
    headers, body = sign()
    other = sign(secret=FOREIGN_SECRET)[0]["webhook-signature"]
    headers["webhook-signature"] = f"v1a,xyz {other} {headers['webhook-signature']}"
    assert StandardWebhooks([SECRET]).verify(headers, body).event_id == "evt_123"


def test_a_signature_has_one_spelling() -> None:
    headers, body = sign()
    proper = headers["webhook-signature"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    sibling = alphabet[alphabet.index(proper[-2]) + 1]  # differs in bits that base64 leaves unused
    for other in (f"{proper[:-2]}{sibling}=", proper.rstrip("="), proper[:9] + "!" + proper[9:]):
        assert refusal_code(headers | {"webhook-signature": other}, body) == "invalid_signature"


@pytest.mark.parametrize("secret", [OLD_SECRET, FOREIGN_SECRET])
def test_another_secret_is_an_invalid_signature(secret: str) -> None:
    assert refusal_code(*sign(secret=secret)) == "invalid_signature"


@pytest.mark.parametrize(
    ("age", "passes"), [(295, True), (-295, True), (305, False), (-305, False)]
)
def test_the_timestamp_may_be_300_seconds_off(age: int, passes: bool) -> None:
    headers, body = sign(age_seconds=age)
    if passes:
        assert StandardWebhooks([SECRET]).verify(headers, body).event_id == "evt_123"
    else:
        assert refusal_code(headers, body) == "invalid_signature"


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", [None, "", " ", "é", "\udc80", "a\nb", "x" * 100_000])
def test_a_missing_or_unreadable_header_is_malformed(name: str, value: str | None) -> None:
    headers, body = sign()
    del headers[name]
    if value is not None:
        headers[name] = value
    assert refusal_code(headers, body) == "malformed"


@pytest.mark.parametrize("timestamp", ["1e9", "nan", "-1", "+1", "0", "1.5", "1_0", "٣", "9" * 13])
def test_a_timestamp_that_is_no_whole_number_is_malformed(timestamp: str) -> None:
    headers, body = sign()
    assert refusal_code(headers | {"webhook-timestamp": timestamp}, body) == "malformed"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"NaN", b'{"type": "x"}', b'{"type": 1, "data": {}}',
     b'{"type": "x", "data": []}', b'{"type": "", "data": {}}', b"[" * 200_000,
     b'{"type": "x", "data": {"a": "\\ud800"}}'],
    ids=lambda body: body[:20],
)  # fmt: skip
def test_well_signed_junk_is_malformed(body: bytes) -> None:
    assert refusal_code(*sign(body)) == "malformed"


def test_a_body_that_is_not_utf_8_is_malformed() -> None:
    headers, _ = sign()
    assert refusal_code(headers, b"\xff\xfe" + BODY) == "malformed"


def test_unsigned_junk_is_an_invalid_signature_and_is_not_parsed() -> None:
    headers, _ = sign()
    assert refusal_code(headers, b"{") == "invalid_signature"


def test_without_secrets_nothing_passes() -> None:
    headers, body = sign()
    with pytest.raises(Unauthenticated):
        StandardWebhooks([]).verify(headers, body)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_a", "whsec_é"])
def test_an_unusable_secret_is_our_own_mistake(secret: str) -> None:
    with pytest.raises(ValueError, match="secret"):
        StandardWebhooks([secret])


def flip(rng: random.Random, text: bytes) -> bytes:
    """One byte of ``text`` replaced, removed, doubled or inserted: always another text."""
    while True:
        place, byte = rng.randrange(len(text)), rng.randrange(256)
        mutant = rng.choice(
            [
                text[:place] + bytes([byte]) + text[place + 1 :],
                text[:place] + text[place + 1 :],
                text[:place] + text[place : place + 1] + text[place:],
                text[:place] + bytes([byte]) + text[place:],
            ]
        )
        if mutant != text:
            return mutant


def mutate_body(rng: random.Random, headers: dict[str, str], body: bytes) -> Signed:
    return headers, flip(rng, body)


def mutate_header(rng: random.Random, headers: dict[str, str], body: bytes) -> Signed:
    name = rng.choice(sorted(headers))
    mutant = flip(rng, headers[name].encode("latin-1")).decode("latin-1")
    return headers | {name: mutant}, body


def swap_parts(rng: random.Random, headers: dict[str, str], body: bytes) -> Signed:
    """The dots of the signed text moved between id, timestamp and body."""
    cut = rng.randrange(1, len(body))
    moved = headers["webhook-timestamp"] + "." + body[:cut].decode()
    return headers | {"webhook-id": f"{headers['webhook-id']}.{moved}"}, body[cut:]


@pytest.mark.parametrize("mutate", [mutate_body, mutate_header, swap_parts])
def test_no_mutant_passes_or_raises_anything_else(
    mutate: Callable[[random.Random, dict[str, str], bytes], Signed],
) -> None:
    rng = random.Random(20260101)
    for _ in range(1000):
        headers, body = mutate(rng, *sign())
        assert refusal_code(headers, body) in ("invalid_signature", "malformed"), (headers, body)


@settings(deadline=None)
@given(
    headers=st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "other"]),
        st.one_of(st.text(), st.from_regex(r"v1,[A-Za-z0-9+/=]{0,50}"), st.integers().map(str)),
    ),
    body=st.binary(max_size=200),
)
def test_arbitrary_input_is_refused_with_a_typed_error(
    headers: dict[str, str], body: bytes
) -> None:
    assert refusal_code(headers, body) in ("invalid_signature", "malformed")
