"""The audit log on the wire."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from api.schemas.cases import CASE_ID, STAFF_ID
from api.schemas.common import NextPage, example

HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class Seal(BaseModel):
    """The entry's place in the chain of hashes."""

    model_config = example(sequence=981, hash=HASH)

    sequence: int
    hash: str


class AuditEntryOut(BaseModel):
    model_config = example(
        id="1042",
        at="2026-11-24T10:05:00.000Z",
        actor=STAFF_ID,
        role="manager",
        action="case.resolve",
        target=f"case:{CASE_ID}",
        reason="Refunded by hand at the provider; the buyer was told.",
        details={"from": CASE_ID, "to": STAFF_ID},
        request_id="01J9ZC3V8R5T7W9Y1A3C5E7G9J",
        sealed={"sequence": 981, "hash": HASH},
    )

    id: str
    at: str
    actor: str
    role: str
    action: str
    target: str
    reason: str | None
    details: dict[str, Any] | None
    request_id: str | None
    sealed: Seal | None


class AuditList(BaseModel):
    items: list[AuditEntryOut]
    next: NextPage
