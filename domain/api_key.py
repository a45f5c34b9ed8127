"""An API key, ``sk_<prefix>_<secret>``: the prefix finds it, the secret proves it."""

from __future__ import annotations

import re
from dataclasses import dataclass

PATTERN = re.compile(r"sk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
PREFIX_BYTES = 6
# 256 bits of chance: nothing to guess, so a fast hash keeps them.
SECRET_BYTES = 32
PER_MINUTE = 600
MAX_PER_MINUTE = 60_000
MAX_KEYS_PER_ACCOUNT = 20
GRACE_SECONDS = 24 * 3600
MAX_GRACE_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Parts:
    prefix: str
    secret: str


def parts_of(key: str) -> Parts | None:
    """None: this is no key of ours, whatever it is."""
    match = PATTERN.fullmatch(key)
    return Parts(match[1], match[2]) if match else None


def written(parts: Parts) -> str:
    return f"sk_{parts.prefix}_{parts.secret}"
