"""The staff's accounts on the wire."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from api.schemas.common import ApiModel, NextPage, example
from api.schemas.users import Email, Name
from domain.user import Role

Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
    Field(
        description="Why; it is kept in the audit log.", examples=["New at the Saturday counter."]
    ),
]


class InviteBody(ApiModel):
    email: Email
    name: Name
    role: Annotated[Role, Field(examples=["box_office"])]
    reason: Reason


class RoleBody(ApiModel):
    """With ``user`` an account is of the staff no more."""

    role: Annotated[Role, Field(examples=["manager"])]
    reason: Reason


class ReasonBody(ApiModel):
    reason: Reason


class StaffOut(BaseModel):
    model_config = example(
        id="6d0f3f52-3c4b-4c0e-9a53-8c1f4a0a7b11",
        email="grace@example.test",
        name="Grace Hopper",
        role="box_office",
        blocked_at="2026-12-24T09:15:00.000Z",
        second_factor=True,
        created_at="2026-11-24T09:15:00.000Z",
    )

    id: UUID
    email: str
    name: str
    role: Role
    blocked_at: str | None
    second_factor: bool
    created_at: str


class StaffList(BaseModel):
    items: list[StaffOut]
    next: NextPage
