"""The audit log: who with power did what to what, and why; sealed into one chain of hashes.

An entry names nobody but by ids. It is written in its command's own transaction; the seal follows
a moment later, so that no command waits for another because of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row. ``target`` is ``noun:id``; ``details`` has ids before and after, and the like."""

    id: int
    at: datetime
    actor: str
    role: str
    action: str
    target: str
    reason: str | None
    details: Mapping[str, Any] | None
    request_id: str | None


def seal(previous: bytes, entry: AuditEntry) -> bytes:
    """SHA-256 of the seal before it and the canonical JSON of the entry."""
    told = [
        entry.id,
        entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        entry.actor,
        entry.role,
        entry.action,
        entry.target,
        entry.reason,
        entry.details,
        entry.request_id,
    ]
    body = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(previous + body.encode()).digest()
