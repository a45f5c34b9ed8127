"""What every body has in common, and the problem document of every error."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

# The forms that a field may have. Errors name the field, not its form.
FORMS = AS_LABEL, AS_SEAT = "(label)", "(seat)"

Instant = Annotated[str, Field(examples=["2026-12-04T19:30:00.000Z"])]
TimeZone = Annotated[str, Field(examples=["Europe/Berlin"])]
Version = Annotated[int, Field(examples=[3])]
CURSOR_EXAMPLE = "WyJNZXRyb3BvbGlzIiwiN2YzYzJkMWUtNGI1YS01YzZkLThlN2YtOWEwYjFjMmQzZTRmIl0="
NextPage = Annotated[
    str | None,
    Field(
        description="What to send as `cursor` for the next page; null on the last.",
        examples=[CURSOR_EXAMPLE],
    ),
]

WRITTEN_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
CANONICAL = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def as_id(value: object) -> UUID:
    """The id of which this is the one spelling, but for upper case.

    ``UUID`` takes many more: braces, ``urn:uuid:``, hyphens anywhere, spaces for digits.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, str) and CANONICAL.fullmatch(value):
        return UUID(value)
    raise ValueError("an id is 32 hexadecimal digits with hyphens as 8-4-4-4-12")


# Out of bodies and queries; ``PathId`` is the one for addresses.
Id = Annotated[UUID, BeforeValidator(as_id)]


def _as_day(value: object) -> object:
    if isinstance(value, str) and WRITTEN_DAY.fullmatch(value):
        return value
    raise ValueError("a day is written as 2026-12-04")


def _as_moment(value: object) -> object:
    if isinstance(value, str) and WRITTEN_DAY.match(value):
        return value
    raise ValueError("a time is written as 2026-12-04T09:15:00Z")


# Pydantic alone would take any number for seconds since 1970.
Day = Annotated[date, BeforeValidator(_as_day)]
AS_MOMENT = BeforeValidator(_as_moment)
Moment = Annotated[AwareDatetime, AS_MOMENT]


def example(**fields: Any) -> ConfigDict:
    """The configuration of a model that the document shows with these ``fields``."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


class ApiModel(BaseModel):
    """A request body: unknown fields are refused, so a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid")


class NoFields(ApiModel):
    """All is said by the address: send no body, or an empty object."""


class FieldProblem(BaseModel):
    """``in`` is where the field was: body, query, path or header."""

    model_config = example(
        **{"in": "query", "field": "limit", "message": "Input should be less than or equal to 100"}
    )

    place: str = Field(alias="in")
    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457; ``code`` is the stable name, other members depend on it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:seathold:problem:seats_unavailable",
                    "title": "Seats unavailable",
                    "status": 409,
                    "detail": "C12 is taken; choose other seats.",
                    "instance": "/api/booking/reserve",
                    "code": "seats_unavailable",
                    "errors": [],
                    "request_id": "5b2a9c1e-7a55-4f5c-9a0e-1f1f6a3f2a10",
                    "seats": ["C12"],
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[FieldProblem]
    request_id: str
