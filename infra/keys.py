"""The key ring: every key that is ours alone is derived from a seed, one for each purpose.

The first seed signs. The others are accepted too: yesterday's, or tomorrow's that is being rolled
out. So a seed is replaced without a moment in which one process refuses what another has signed.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32


class KeyRing:
    """``seed`` signs and seals; what ``also`` signed or sealed is accepted."""

    def __init__(self, seed: str, also: Sequence[str] = ()) -> None:
        self._seeds = (seed, *also)

    def secrets(self, purpose: str) -> list[bytes]:
        """A secret of its own for each purpose; the one to use for what is new comes first."""
        return [_derive(seed, purpose) for seed in self._seeds]

    def signing_keys(self, purpose: str) -> list[Ed25519PrivateKey]:
        """As ``secrets``, for signatures: none can stand in for one of another purpose."""
        return [Ed25519PrivateKey.from_private_bytes(raw) for raw in self.secrets(purpose)]


def _derive(seed: str, purpose: str) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose.encode()).derive(seed.encode())
