"""API keys on the wire; the key itself only in the answer that made it."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field, StrictInt, StringConstraints

from api.schemas.common import ApiModel, Id, NextPage, example
from api.schemas.staff import Reason
from domain.access import Scope
from domain.api_key import GRACE_SECONDS, MAX_GRACE_SECONDS, MAX_PER_MINUTE, PER_MINUTE

KEY: dict[str, Any] = {
    "id": "0b5c8c0e-6f0a-4b1e-9d53-3f6a2f0f2a11",
    "account_id": "6d0f3f52-3c4b-4c0e-9a53-8c1f4a0a7b11",
    "name": "The ticket machines",
    "prefix": "sk_9f86d081884c",
    "scopes": ["bookings:read", "bookings:write"],
    "per_minute": PER_MINUTE,
    "created_at": "2026-11-24T09:15:00.000Z",
    "expires_at": "2027-11-24T09:15:00.000Z",
    "revoked_at": "2026-12-24T09:15:00.000Z",
    "previous_until": "2026-11-25T09:15:00.000Z",
    "last_used_at": "2026-11-24T10:05:00.000Z",
}
Secret = Annotated[
    str,
    Field(
        description="Shown this once; we keep a hash.",
        examples=["sk_9f86d081884c_0WvJ9mB0q1yTqf2dOZx1nX3v6pU8c5eR7kL4hG2sA_M"],
    ),
]


class ApiKeyBody(ApiModel):
    """``account_id``: the account that the key speaks for, and whose bookings it sees."""

    account_id: Id
    name: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
        Field(examples=["The ticket machines"]),
    ]
    scopes: Annotated[set[Scope], Field(min_length=1, examples=[["bookings:read"]])]
    per_minute: Annotated[StrictInt, Field(ge=1, le=MAX_PER_MINUTE, examples=[PER_MINUTE])] = (
        PER_MINUTE
    )
    expires_in_days: Annotated[StrictInt | None, Field(ge=1, le=3650, examples=[365])] = None
    reason: Reason


class RotateKeyBody(ApiModel):
    """How long the old secret still works beside the new one."""

    grace_seconds: Annotated[
        StrictInt, Field(ge=0, le=MAX_GRACE_SECONDS, examples=[GRACE_SECONDS])
    ] = GRACE_SECONDS
    reason: Reason


class ApiKeyOut(BaseModel):
    """``last_used_at`` to ten minutes."""

    model_config = example(**KEY)

    id: UUID
    account_id: UUID
    name: str
    prefix: str
    scopes: list[Scope]
    per_minute: int
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    previous_until: str | None
    last_used_at: str | None


class ApiKeySecretOut(ApiKeyOut):
    model_config = example(**KEY, key="sk_9f86d081884c_0WvJ9mB0q1yTqf2dOZx1nX3v6pU8c5eR7kL4hG2sA_M")

    key: Secret


class ApiKeyList(BaseModel):
    items: list[ApiKeyOut]
    next: NextPage
