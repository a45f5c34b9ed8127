"""What Temporal stores of us, sealed by AES-GCM under keys that are replaced in turn."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

ENCODING, KEY_ID = b"binary/encrypted", "encryption-key-id"
KEY_BYTES = (16, 24, 32)
NONCE_BYTES = 12
NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")


class SealedByUnknownKey(Exception):
    """A payload names a key that this process does not have: it was taken away too early."""


class SealBroken(Exception):
    """A payload is not what its key sealed."""


def parse_keys(text: str) -> dict[str, bytes]:
    """``new:<base64>,old:<base64>`` as keys by name; the first one seals, all of them open.

    Raises:
        ValueError: it is not such a list, or a key is not of 16, 24 or 32 bytes.
    """
    keys: dict[str, bytes] = {}
    for part in text.split(","):
        name, _, encoded = part.strip().partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise ValueError(f"the key {name!r} is not base64") from error
        if not NAME.fullmatch(name) or name in keys or len(key) not in KEY_BYTES:
            raise ValueError("keys are name:base64 of 32 bytes, names once, separated by commas")
        keys[name] = key
    return keys


class SealingCodec(PayloadCodec):
    """Seals whole payloads with their metadata; what is not sealed passes, so that old and new
    workers understand each other while a first key is rolled out.

    The key's name is authenticated with the payload, and each payload has a nonce of its own.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._ciphers = {name: AESGCM(key) for name, key in keys.items()}
        self._newest = next(iter(keys))

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._seal(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """The payloads as they were.

        Raises:
            SealedByUnknownKey: its key is not one of ours.
            SealBroken: it was changed, or sealed by another key of that name.
        """
        return [self._open(payload) for payload in payloads]

    def _seal(self, payload: Payload) -> Payload:
        name = self._newest.encode()
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self._newest].encrypt(nonce, payload.SerializeToString(), name)
        return Payload(metadata={"encoding": ENCODING, KEY_ID: name}, data=nonce + sealed)

    def _open(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        name = payload.metadata.get(KEY_ID, b"")
        cipher = self._ciphers.get(name.decode(errors="replace"))
        if cipher is None:
            raise SealedByUnknownKey(f"no key named {name.decode(errors='replace')!r}")
        nonce, sealed = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        try:
            return Payload.FromString(cipher.decrypt(nonce, sealed, name))
        except (InvalidTag, ValueError) as error:
            raise SealBroken(f"not what {name.decode()!r} sealed") from error
