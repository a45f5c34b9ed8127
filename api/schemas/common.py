"""What every body has in common, and the problem document of every error."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ApiModel(BaseModel):
    """A request body: unknown fields are refused, so a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid")


class FieldProblem(BaseModel):
    """``in`` is where the field was: body, query, path or header."""

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
                    "detail": "Somebody else has C12; choose other seats.",
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
