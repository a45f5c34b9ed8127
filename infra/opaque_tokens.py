"""Tokens without content: refresh tokens, and those that are sent by mail.

A refresh token names its session and carries a seal, so what is not one of ours is refused without
a look into the database, and nobody ends another's session by inventing a token of it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from uuid import UUID

from infra.keys import KeyRing

SECRET_BYTES = 32
SEAL_BYTES = 16
ID_BYTES = 16
REFRESH_CHARACTERS = 86


class OpaqueTokens:
    """See ``services.session.SessionTokens``, and beside it the tokens that are mailed."""

    def __init__(self, ring: KeyRing) -> None:
        self._refresh_keys = ring.secrets("seathold refresh token 1")
        self._mail_keys = ring.secrets("seathold mail token 1")

    def new_refresh(self, session_id: UUID) -> str:
        body = session_id.bytes + secrets.token_bytes(SECRET_BYTES)
        return _encode(body + _seal(self._refresh_keys[0], body))

    def session_of(self, refresh_token: str) -> UUID | None:
        """The session that the token was made for; None for what is no token of ours."""
        if len(refresh_token) != REFRESH_CHARACTERS:
            return None
        try:
            raw = base64.urlsafe_b64decode(refresh_token + "==")
        except (ValueError, binascii.Error):
            return None
        body, seal = raw[:-SEAL_BYTES], raw[-SEAL_BYTES:]
        # Each token has one spelling: its hash is taken of the text.
        if _encode(raw) != refresh_token:
            return None
        if not any(hmac.compare_digest(seal, _seal(key, body)) for key in self._refresh_keys):
            return None
        return UUID(bytes=body[:ID_BYTES])

    def mailed(self, token_id: UUID, purpose: str) -> str:
        """The token of a row of ``account_tokens``, which keeps its hash alone.

        It is made anew for each try to send it, so it need not be kept in between, and neither
        the database nor the key gives it away without the other.
        """
        return _mailed(self._mail_keys[0], token_id, purpose)

    def mailed_again(self, token_id: UUID, purpose: str, kept: bytes) -> str | None:
        """The same token, known by its hash; None when its seed is gone.

        While a seed is replaced, who sends the mail may hold another first than who made the row.
        """
        made = (_mailed(key, token_id, purpose) for key in self._mail_keys)
        return next((one for one in made if hmac.compare_digest(hashed(one), kept)), None)


def hashed(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


def _seal(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:SEAL_BYTES]


def _mailed(key: bytes, token_id: UUID, purpose: str) -> str:
    return _encode(hmac.digest(key, f"{purpose}:{token_id}".encode(), "sha256"))


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
