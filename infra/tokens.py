"""Access tokens and tickets, signed with Ed25519 keys of the key ring."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

import jwt
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from domain.access import Scope
from domain.errors import Invalid, Unauthenticated
from domain.user import Role
from infra.keys import KeyRing

ALGORITHM = "EdDSA"
TYPE = "at+jwt"
ISSUER = "seathold"
AUDIENCE = "seathold-api"
# Clocks of two API machines may differ by this much; the end of a token is never stretched.
CLOCK_SKEW_SECONDS = 30
MAX_TOKEN_CHARACTERS = 2048
MAX_REMEMBERED = 10_000
REQUIRED = ("exp", "iat", "sub", "iss", "aud", "sid")

TICKET = re.compile(r"SH1\.([A-Za-z0-9_-]{1,2000})\.([A-Za-z0-9_-]{86})")


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """What an API key may do, and how often."""

    id: UUID
    scopes: frozenset[Scope]
    per_minute: int


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request speaks for, and in which session.

    ``second_factor``: the session was opened, or has since been strengthened, with a code.
    ``sees_all``: on this route also for what belongs to others. ``key``: an API key of the account
    asks; then ``session_id`` is the key's id.
    """

    user_id: UUID
    role: str
    session_id: UUID
    second_factor: bool = False
    sees_all: bool = False
    key: KeyGrant | None = None


class TokenSigner:
    """Issues and verifies; the same seeds give the same keys in every process.

    The key of ``seed`` signs; tokens of those in ``also`` are accepted, each under its key id.

    A verified token is remembered until it ends: a signature that held once holds for good, and
    checking it again costs 150 us. The end is compared with the clock at every use, so nothing
    is accepted that a fresh check would refuse. Whether its session has been ended is another
    question: see ``infra/ended_sessions.py``.
    """

    def __init__(
        self,
        seed: str,
        *,
        also: Sequence[str] = (),
        access_seconds: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        ring = KeyRing(seed, also)
        self._keys = ring.signing_keys("seathold access token 1")
        self._key = self._keys[0]
        self._ticket_keys = ring.signing_keys("seathold ticket 1")
        self.kid = _key_id(self._key)
        self._access_seconds = access_seconds
        self._clock = clock
        self._remembered: OrderedDict[str, tuple[float, Principal]] = OrderedDict()
        # The only headers we ever write, so the only ones we take: no algorithm, key or type of a
        # stranger's choice is even parsed.
        self._heads: dict[str, Ed25519PublicKey] = {
            _head(key): key.public_key() for key in self._keys
        }

    def issue(
        self,
        user_id: UUID,
        role: str,
        session_id: UUID,
        *,
        second_factor: bool = False,
        at_most_seconds: int | None = None,
    ) -> str:
        """An access token that lasts ``access_seconds``, and no longer than its session may."""
        now = int(self._clock())
        lasts = self._access_seconds
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "sid": str(session_id),
            "role": role,
            "amr": ["pwd", "otp"] if second_factor else ["pwd"],
            "iat": now,
            "exp": now + (lasts if at_most_seconds is None else min(lasts, at_most_seconds)),
            "jti": uuid4().hex,
        }
        return jwt.encode(claims, self._key, ALGORITHM, headers={"kid": self.kid, "typ": TYPE})

    def verify(self, token: str) -> Principal:
        """Raises Unauthenticated: not one of ours, changed, over, or from the future."""
        known = self._remembered.get(token)
        if known is not None:
            if known[0] > self._clock():
                self._remembered.move_to_end(token)
                return known[1]
            del self._remembered[token]
        ends, principal = self._check(token)
        self._remembered[token] = ends, principal
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return principal

    def _check(self, token: str) -> tuple[float, Principal]:
        key = self._heads.get(token.partition(".")[0])
        if key is None or len(token) > MAX_TOKEN_CHARACTERS:
            raise _refused()
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                # The clock is ours, so that a test can move it.
                options={
                    "require": list(REQUIRED),
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
            ends, since = float(claims["exp"]), float(claims.get("nbf", claims["iat"]))
            principal = Principal(
                UUID(claims["sub"]),
                Role(claims["role"]).value,
                UUID(claims["sid"]),
                "otp" in claims.get("amr", ()),
            )
        except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
            raise _refused() from error
        now = self._clock()
        if ends <= now or since > now + CLOCK_SKEW_SECONDS:
            raise _refused()
        return ends, principal

    def sign_ticket(self, payload: str) -> str:
        """``SH1.<payload>.<signature>``, both base64url without padding; made for a QR code."""
        body = f"SH1.{_encode(payload.encode())}"
        return f"{body}.{_encode(self._ticket_keys[0].sign(body.encode()))}"

    def verify_ticket(self, ticket: str) -> str:
        """The payload that ``sign_ticket`` was given.

        Raises:
            Invalid: ``invalid_ticket``: not one of ours, or changed.
        """
        match = TICKET.fullmatch(ticket)
        if match is None:
            raise _no_ticket()
        body = ticket.rpartition(".")[0]
        signature = _decode(match[2])
        if _encode(signature) != match[2] or not self._is_ours(signature, body.encode()):
            raise _no_ticket()
        return _decode(match[1]).decode()

    def _is_ours(self, signature: bytes, body: bytes) -> bool:
        for key in self._ticket_keys:
            try:
                key.public_key().verify(signature, body)
            except InvalidSignature:
                continue
            return True
        return False


def _key_id(key: Ed25519PrivateKey) -> str:
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def _head(key: Ed25519PrivateKey) -> str:
    """The first part of every token that this key signs."""
    headers = {"kid": _key_id(key), "typ": TYPE}
    return jwt.encode({}, key, ALGORITHM, headers=headers).partition(".")[0]


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _refused() -> Unauthenticated:
    return Unauthenticated("The access token is not valid or no longer so; log in again.")


def _no_ticket() -> Invalid:
    return Invalid("This is not a ticket of ours.", code="invalid_ticket")
