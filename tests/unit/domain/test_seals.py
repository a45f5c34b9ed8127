"""The audit log's seals are kept for good: what they are made of must never change."""

from __future__ import annotations

import hashlib
from datetime import datetime

from domain.audit import AuditEntry, seal

ENTRY = AuditEntry(
    id=7,
    at=datetime.fromisoformat("2026-11-24T13:00:00+01:00"),
    actor="operator:cli",
    role="operator",
    action="booking.released",
    target="booking:1",
    reason="für Ada",
    details={"b": 2, "a": [1, None]},
    request_id=None,
)
SEALED = (
    b'[7,"2026-11-24T12:00:00.000000+00:00","operator:cli","operator","booking.released",'
    b'"booking:1","f\\u00fcr Ada",{"a":[1,null],"b":2},null]'
)


def test_an_entry_is_sealed_whole_after_the_seal_before_it() -> None:
    assert seal(b"before", ENTRY) == hashlib.sha256(b"before" + SEALED).digest()
