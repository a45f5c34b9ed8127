"""No token but ours opens anything: attacks on access tokens and tickets."""

from __future__ import annotations

import base64
import json
import warnings
from typing import Any
from uuid import UUID, uuid4

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI

from domain.errors import Invalid, Unauthenticated
from infra import tokens
from infra.tokens import Principal, TokenSigner
from tests.helpers.problems import assert_problem

SEED = "a seed of the tests"
NOW = 1_800_000_000
USER = uuid4()
SESSION = uuid4()


class Clock:
    def __init__(self) -> None:
        self.now: float = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signer(clock: Clock) -> TokenSigner:
    return TokenSigner(SEED, access_seconds=600, clock=clock)


def forged(
    signer: TokenSigner,
    *,
    key: Any = None,
    algorithm: str = "EdDSA",
    headers: dict[str, Any] | None = None,
    without: str | None = None,
    **claims: object,
) -> str:
    """A token as ``signer`` would issue it, but for what is named; by its own key if none is."""
    payload = {
        "iss": tokens.ISSUER,
        "aud": tokens.AUDIENCE,
        "sub": str(USER),
        "sid": str(SESSION),
        "role": "user",
        "iat": NOW,
        "exp": NOW + 600,
        **claims,
    }
    payload.pop(without or "", None)
    header = {"kid": signer.kid, "typ": tokens.TYPE, **(headers or {})}
    with warnings.catch_warnings():
        # The library warns of the weak keys that an attacker would use.
        warnings.simplefilter("ignore")
        return jwt.encode(payload, key or signer._key, algorithm, headers=header)


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_token_says_who_it_was_issued_to(signer: TokenSigner) -> None:
    token = signer.issue(USER, "owner", SESSION, second_factor=True)
    assert signer.verify(token) == Principal(USER, "owner", SESSION, second_factor=True)
    forgery = signer.verify(forged(signer))
    assert forgery == Principal(USER, "user", SESSION), "the forger forges well"


def test_the_same_seed_gives_the_same_keys_and_another_seed_others(signer: TokenSigner) -> None:
    token = forged(signer, iat=0, exp=2**40)
    assert TokenSigner(SEED, access_seconds=600).verify(token).user_id == USER
    with pytest.raises(Unauthenticated):
        TokenSigner("another seed", access_seconds=600).verify(token)


def test_a_seed_is_replaced_without_a_gap(clock: Clock) -> None:
    """First both seeds are accepted, then the new one signs, at last the old one is dropped."""
    old, new = "the seed of yesterday", "the seed of tomorrow"
    before = TokenSigner(old, also=[new], access_seconds=600, clock=clock)
    after = TokenSigner(new, also=[old], access_seconds=600, clock=clock)
    assert before.kid != after.kid
    for signer, other in ((before, after), (after, before)):
        token, ticket = signer.issue(USER, "user", SESSION), signer.sign_ticket("{}")
        assert jwt.get_unverified_header(token)["kid"] == signer.kid
        assert other.verify(token).user_id == USER
        assert other.verify_ticket(ticket) == "{}"
    done = TokenSigner(new, access_seconds=600, clock=clock)
    with pytest.raises(Unauthenticated):
        done.verify(before.issue(USER, "user", SESSION))
    with pytest.raises(Invalid):
        done.verify_ticket(before.sign_ticket("{}"))


def test_one_key_does_not_sign_in_the_name_of_another(clock: Clock) -> None:
    ring = TokenSigner("new", also=["old"], access_seconds=600, clock=clock)
    old = TokenSigner("old", access_seconds=600, clock=clock)
    with pytest.raises(Unauthenticated):
        ring.verify(forged(ring, key=old._key))


def test_a_token_lasts_no_longer_than_its_session(signer: TokenSigner, clock: Clock) -> None:
    token = signer.issue(USER, "user", SESSION, at_most_seconds=5)
    clock.now = NOW + 5
    with pytest.raises(Unauthenticated):
        signer.verify(token)


def test_a_token_ends_to_the_second_though_it_was_verified_before(
    signer: TokenSigner, clock: Clock
) -> None:
    token = signer.issue(USER, "user", SESSION)
    clock.now = NOW + 599.9
    signer.verify(token)
    clock.now = NOW + 600
    with pytest.raises(Unauthenticated):
        signer.verify(token)
    with pytest.raises(Unauthenticated):
        TokenSigner(SEED, access_seconds=600, clock=clock).verify(token)


def test_a_token_may_come_from_a_clock_that_is_a_little_ahead(signer: TokenSigner) -> None:
    signer.verify(forged(signer, iat=NOW + 30))
    with pytest.raises(Unauthenticated):
        signer.verify(forged(signer, iat=NOW + 31))
    with pytest.raises(Unauthenticated):
        signer.verify(forged(signer, nbf=NOW + 31))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "somebody"},
        {"iss": "seat"},
        {"aud": "another-api"},
        {"aud": ["another-api"]},
        {"sub": "not-a-uuid"},
        {"sub": 7},
        {"role": "root"},
        {"exp": NOW - 1},
        {"exp": "soon"},
        {"headers": {"typ": "JWT"}},
        {"headers": {"typ": None}},
        {"headers": {"kid": "another"}},
        {"headers": {"kid": "../../etc/passwd"}},
        {"headers": {"kid": "' OR 1=1 --"}},
        {"headers": {"kid": "k" * 10_000}},
        {"headers": {"kid": ""}},
        {"headers": {"crit": ["exp"]}},
        {"headers": {"jku": "https://keys.example.test"}},
        {"headers": {"x5u": "https://keys.example.test"}},
        {"headers": {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}}},
        pytest.param({"jti": "x" * tokens.MAX_TOKEN_CHARACTERS}, id="too long"),
        {"without": "exp"},
        {"without": "iat"},
        {"without": "sub"},
        {"without": "iss"},
        {"without": "aud"},
        {"without": "sid"},
        {"sid": "not-a-uuid"},
        {"without": "role"},
        pytest.param({"key": Ed25519PrivateKey.generate()}, id="a foreign key"),
        {"key": "a guess", "algorithm": "HS256"},
    ],
    ids=str,
)
def test_a_token_that_differs_in_anything_is_refused(
    signer: TokenSigner, changes: dict[str, Any]
) -> None:
    with pytest.raises(Unauthenticated):
        signer.verify(forged(signer, **changes))


@pytest.mark.parametrize("form", ["raw", "pem"])
def test_the_public_key_is_no_shared_secret(signer: TokenSigner, form: str) -> None:
    public = signer._key.public_key()
    secret = (
        public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        if form == "raw"
        else public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    head, payload, _ = forged(signer).split(".")
    head = encoded({"typ": tokens.TYPE, "alg": "HS256", "kid": signer.kid})
    signature = jwt.get_algorithm_by_name("HS256").sign(f"{head}.{payload}".encode(), secret)
    token = f"{head}.{payload}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    with pytest.raises(Unauthenticated):
        signer.verify(token)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE"])
@pytest.mark.parametrize("signature", ["", "x", "kept"])
def test_an_unsigned_token_is_refused(signer: TokenSigner, algorithm: str, signature: str) -> None:
    _, payload, kept = forged(signer).split(".")
    head = encoded({"typ": tokens.TYPE, "alg": algorithm, "kid": signer.kid})
    with pytest.raises(Unauthenticated):
        signer.verify(f"{head}.{payload}.{kept if signature == 'kept' else signature}")


def test_a_payload_of_another_token_is_refused(signer: TokenSigner) -> None:
    head, _, signature = forged(signer).split(".")
    _, payload, _ = forged(signer, role="owner").split(".")
    with pytest.raises(Unauthenticated):
        signer.verify(f"{head}.{payload}.{signature}")


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "ü.ü.ü",
        "\x00",
        "x" * 100_000,
        encoded([]) + "..",
        "[" * 2000 + ".a.b",
    ],
)
def test_garbage_is_refused(signer: TokenSigner, token: str) -> None:
    head = forged(signer).split(".")[0]
    for one in (token, f"{head}.{token}", f"{head}.{token}.{token}"):
        with pytest.raises(Unauthenticated):
            signer.verify(one)


def test_no_more_tokens_are_remembered_than_fit(
    signer: TokenSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MAX_REMEMBERED", 3)
    issued = [signer.issue(USER, "user", SESSION) for _ in range(10)]
    for token in issued:
        signer.verify(token)
    assert list(signer._remembered) == issued[-3:]


async def test_the_api_refuses_a_token_signed_by_somebody_else(
    app: FastAPI, client: httpx2.AsyncClient
) -> None:
    stranger = TokenSigner("another seed", access_seconds=600)
    token = stranger.issue(UUID(int=1), "owner", UUID(int=1))
    answer = await client.get("/api/me", headers={"Authorization": f"Bearer {token}"})
    assert_problem(answer, 401, "unauthenticated")


def test_a_ticket_gives_back_what_was_signed(signer: TokenSigner) -> None:
    payload = '{"l":"C12","ü":1}'
    ticket = signer.sign_ticket(payload)
    assert ticket.startswith("SH1.")
    assert signer.verify_ticket(ticket) == payload


def test_a_changed_ticket_is_none(signer: TokenSigner) -> None:
    ticket = signer.sign_ticket('{"l":"C12"}')
    other = signer.sign_ticket('{"l":"C13"}')
    version, payload, signature = ticket.split(".")
    # The last character of a signature carries four bits that say nothing.
    twin = signature[:-1] + chr(ord(signature[-1]) + 1)
    access = forged(signer)
    for one in (
        f"{version}.{other.split('.')[1]}.{signature}",
        f"SH2.{payload}.{signature}",
        f"{version}.{payload}.{twin}",
        f"{version}.A.{signature}",
        f"{ticket}=",
        f" {ticket}",
        "",
        "SH1..",
        f"SH1.{access.split('.')[1]}.{access.split('.')[2]}",
        TokenSigner("another seed", access_seconds=600).sign_ticket('{"l":"C12"}'),
    ):
        with pytest.raises(Invalid):
            signer.verify_ticket(one)
