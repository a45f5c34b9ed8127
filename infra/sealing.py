"""Secrets at rest: sealed with AES-256-GCM under a named key of a ring, so that keys can change.

A sealed secret opens only in the place it was made for: the place is authenticated with it.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infra.codec import parse_keys

NONCE_BYTES = 12
VERSION = b"\x01"


class Unopenable(Exception):
    """It was sealed with a key that the ring has not, for another place, or it was changed."""


class SealRing:
    """Keys as ``infra.codec.parse_keys`` reads them: the first seals, all of them open.

    Raises:
        ValueError: they are none.
    """

    def __init__(self, written: str) -> None:
        keys = parse_keys(written)
        self._keys = {name: AESGCM(key) for name, key in keys.items()}
        self.current = next(iter(keys))

    def seal(self, secret: bytes, place: str) -> bytes:
        """``secret`` for ``place``, with the name of its key before it."""
        name, nonce = self.current.encode(), os.urandom(NONCE_BYTES)
        head = VERSION + bytes([len(name)]) + name
        return head + nonce + self._keys[self.current].encrypt(nonce, secret, _bound(head, place))

    def resealed(self, sealed: bytes, place: str) -> bytes:
        """By the first key; the same bytes where they are by that one. Raises Unopenable."""
        name = self.current.encode()
        opened = self.open(sealed, place)
        if sealed[2 : 2 + sealed[1]] == name:
            return sealed
        return self.seal(opened, place)

    def open(self, sealed: bytes, place: str) -> bytes:
        """Raises Unopenable."""
        end = 2 + (sealed[1] if len(sealed) > 1 else 0)
        head, nonce, rest = (
            sealed[:end],
            sealed[end : end + NONCE_BYTES],
            sealed[end + NONCE_BYTES :],
        )
        key = self._keys.get(head[2:].decode("ascii", "replace"))
        if key is None or head[:1] != VERSION:
            raise Unopenable("no key of the ring sealed this")
        try:
            return key.decrypt(nonce, rest, _bound(head, place))
        except (InvalidTag, ValueError) as error:
            raise Unopenable("this was changed, or sealed for another place") from error


def _bound(head: bytes, place: str) -> bytes:
    return head + place.encode()
