"""Codes of authenticator apps (RFC 6238), whose secrets are kept sealed."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from uuid import UUID

import pyotp
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infra.keys import KeyRing

STEP_SECONDS = 30
NONCE_BYTES = 12
ISSUER = "Seathold"


class TotpCodes:
    """See ``services.second_factor.Codes``. A sealed secret opens for its own user alone."""

    def __init__(self, ring: KeyRing, clock: Callable[[], float] = time.time) -> None:
        self._keys = [AESGCM(key) for key in ring.secrets("seathold second factor 1")]
        self._clock = clock

    def new_secret(self) -> str:
        return pyotp.random_base32()

    def uri(self, secret: str, account: str) -> str:
        return pyotp.TOTP(secret, interval=STEP_SECONDS).provisioning_uri(
            name=account, issuer_name=ISSUER
        )

    def step_of(self, secret: str, code: str) -> int | None:
        """The step whose code it is, if that is the one of now (ASVS 6.5.5); else None."""
        totp = pyotp.TOTP(secret, interval=STEP_SECONDS)
        step = int(self._clock()) // STEP_SECONDS
        fits = hmac.compare_digest(totp.generate_otp(step).encode(), code.encode())
        return step if fits else None

    def seal(self, secret: str, user_id: UUID) -> bytes:
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._keys[0].encrypt(nonce, secret.encode(), user_id.bytes)

    def unseal(self, sealed: bytes, user_id: UUID) -> str:
        """Raises ValueError: sealed under a key that is gone, or for somebody else."""
        nonce, content = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        for key in self._keys:
            try:
                return key.decrypt(nonce, content, user_id.bytes).decode()
            except InvalidTag:
                continue
        raise ValueError("the secret of a second factor was sealed under a key that is gone")
