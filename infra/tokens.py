"""Access tokens and tickets, signed with Ed25519 keys that are derived from one seed."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID, uuid4

import jwt
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from domain.errors import Invalid, Unauthenticated
from domain.user import Role

ALGORITHM = "EdDSA"
TYPE = "at+jwt"
ISSUER = "seathold"
AUDIENCE = "seathold-api"
# Clocks of two API machines may differ by this much; the end of a token is never stretched.
CLOCK_SKEW_SECONDS = 30
MAX_TOKEN_CHARACTERS = 2048
MAX_REMEMBERED = 10_000
REQUIRED = ("exp", "iat", "sub", "iss", "aud")

TICKET = re.compile(r"SH1\.([A-Za-z0-9_-]{1,2000})\.([A-Za-z0-9_-]{86})")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request speaks for."""

    user_id: UUID
    role: str

    @property
    def is_staff(self) -> bool:
        return self.role == Role.ADMIN


class TokenSigner:
    """Issues and verifies; the same seed gives the same keys in every process.

    A verified token is remembered until it ends: a signature that held once holds for good, and
    checking it again costs 150 us. The end is compared with the clock at every use, so nothing
    is accepted that a fresh check would refuse.
    """

    def __init__(
        self, seed: str, *, access_seconds: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._key = _derive(seed, "seathold access token 1")
        self._public = self._key.public_key()
        self._ticket_key = _derive(seed, "seathold ticket 1")
        raw = self._public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.kid = hashlib.sha256(raw).hexdigest()[:16]
        self._access_seconds = access_seconds
        self._clock = clock
        self._remembered: OrderedDict[str, tuple[float, Principal]] = OrderedDict()
        # The only header we ever write, so the only one we take: no algorithm, key or type of a
        # stranger's choice is even parsed.
        self._head = self.issue(UUID(int=0), Role.USER).partition(".")[0] + "."

    def issue(self, user_id: UUID, role: str) -> str:
        """An access token that lasts ``access_seconds``."""
        now = int(self._clock())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "role": role,
            "iat": now,
            "exp": now + self._access_seconds,
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
        if not token.startswith(self._head) or len(token) > MAX_TOKEN_CHARACTERS:
            raise _refused()
        try:
            claims = jwt.decode(
                token,
                self._public,
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
            principal = Principal(UUID(claims["sub"]), Role(claims["role"]).value)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
            raise _refused() from error
        now = self._clock()
        if ends <= now or since > now + CLOCK_SKEW_SECONDS:
            raise _refused()
        return ends, principal

    def sign_ticket(self, payload: str) -> str:
        """``SH1.<payload>.<signature>``, both base64url without padding; made for a QR code."""
        body = f"SH1.{_encode(payload.encode())}"
        return f"{body}.{_encode(self._ticket_key.sign(body.encode()))}"

    def verify_ticket(self, ticket: str) -> str:
        """The payload that ``sign_ticket`` was given.

        Raises:
            Invalid: ``invalid_ticket``: not one of ours, or changed.
        """
        match = TICKET.fullmatch(ticket)
        if match is None:
            raise _no_ticket()
        body = ticket.rpartition(".")[0]
        try:
            signature = _decode(match[2])
            self._ticket_key.public_key().verify(signature, body.encode())
            if _encode(signature) != match[2]:
                raise _no_ticket()
            return _decode(match[1]).decode()
        except (InvalidSignature, binascii.Error, UnicodeDecodeError) as error:
            raise _no_ticket() from error


def _derive(seed: str, purpose: str) -> Ed25519PrivateKey:
    """A key of its own for each purpose, so that no signature can stand in for another."""
    material = HKDF(SHA256(), 32, salt=None, info=purpose.encode()).derive(seed.encode())
    return Ed25519PrivateKey.from_private_bytes(material)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _refused() -> Unauthenticated:
    return Unauthenticated("The access token is not valid or no longer so; log in again.")


def _no_ticket() -> Invalid:
    return Invalid("This is not a ticket of ours.", code="invalid_ticket")
