"""Partners' endpoints, deliveries and events on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field, StrictBool, StrictInt, StringConstraints

from api.schemas.common import ApiModel, Moment, NextPage, example
from domain.outbound import MAX_URL_CHARACTERS
from domain.partner import (
    MAX_OVERLAP_SECONDS,
    OVERLAP_SECONDS,
    DeliveryState,
    DisabledReason,
    EndpointState,
    PartnerEventType,
)

ENDPOINT_ID = "5a0d9c7e-1b2f-4c3d-8e4f-90a1b2c3d4e5"
DELIVERY_ID = "c1f6a2b4-7d3e-4f5a-9b8c-0d1e2f3a4b5c"
EVENT_ID = "evt_0000000000000042"
WEBHOOK_URL = "https://partner.example/hooks/seathold"
TYPES = ["booking.confirmed", "booking.cancelled", "show.cancelled"]
ENDPOINT: dict[str, Any] = {
    "id": ENDPOINT_ID,
    "url": WEBHOOK_URL,
    "description": "Seat board in the lobby",
    "event_types": TYPES,
    "state": "active",
    "disabled_reason": None,
    "disabled_at": None,
    "failing_since": None,
    "previous_secret_until": None,
    "version": 1,
    "created_at": "2026-11-24T09:15:00.000Z",
    "updated_at": "2026-11-24T09:15:00.000Z",
}
DELIVERY: dict[str, Any] = {
    "id": DELIVERY_ID,
    "endpoint_id": ENDPOINT_ID,
    "event_id": EVENT_ID,
    "type": "booking.confirmed",
    "state": "delivered",
    "reason": None,
    "attempts": 1,
    "next_attempt_at": None,
    "created_at": "2026-11-24T09:15:00.000Z",
    "delivered_at": "2026-11-24T09:15:00.410Z",
}
TRY = {
    "number": 1,
    "started_at": "2026-11-24T09:15:00.120Z",
    "milliseconds": 290,
    "status": 204,
    "error": None,
}

Url = Annotated[str, Field(min_length=1, max_length=MAX_URL_CHARACTERS, examples=[WEBHOOK_URL])]
Description = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$"),
    Field(examples=["Seat board in the lobby"]),
]
EventTypes = Annotated[list[PartnerEventType], Field(min_length=1, max_length=20, examples=[TYPES])]


class EndpointBody(ApiModel):
    url: Url
    event_types: EventTypes
    description: Description = ""


class EndpointChange(ApiModel):
    """What is left out stays. Enabled again, an endpoint is owed what happens from then on."""

    url: Url | None = None
    event_types: EventTypes | None = None
    description: Description | None = None
    enabled: Annotated[StrictBool | None, Field(examples=[False])] = None


class RotateBody(ApiModel):
    """How long the old secret goes on signing beside the new one."""

    overlap_seconds: Annotated[
        StrictInt, Field(ge=0, le=MAX_OVERLAP_SECONDS, examples=[OVERLAP_SECONDS])
    ] = OVERLAP_SECONDS


class ReplayBody(ApiModel):
    """Everything the endpoint is owed since then is sent again, delivered or not."""

    since: Annotated[Moment, Field(examples=["2026-11-24T09:00:00Z"])]


class EndpointOut(BaseModel):
    model_config = example(**ENDPOINT)

    id: UUID
    url: str
    description: str
    event_types: list[PartnerEventType]
    state: EndpointState
    disabled_reason: DisabledReason | None = None
    disabled_at: str | None = None
    failing_since: str | None = None
    previous_secret_until: str | None = None
    version: int
    created_at: str
    updated_at: str


class EndpointSecretOut(EndpointOut):
    """The secret is shown this once."""

    model_config = example(
        **ENDPOINT,
        secret="whsec_MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=",  # nosec B106
    )

    secret: str


class EndpointList(BaseModel):
    items: list[EndpointOut]
    next: NextPage


class TryOut(BaseModel):
    """``status`` is the receiver's; ``error`` says what there was instead of an answer."""

    model_config = example(**TRY)

    number: int
    started_at: str
    milliseconds: int
    status: int | None = None
    error: str | None = None


class DeliveryOut(BaseModel):
    model_config = example(**DELIVERY)

    id: UUID
    endpoint_id: UUID
    event_id: str
    type: str
    state: DeliveryState
    reason: str | None = None
    attempts: int
    next_attempt_at: str | None = None
    created_at: str
    delivered_at: str | None = None


class DeliveryLogOut(DeliveryOut):
    """With its newest hundred tries, newest first."""

    model_config = example(**DELIVERY, tries=[TRY])

    tries: list[TryOut]


class DeliveryList(BaseModel):
    items: list[DeliveryOut]
    next: NextPage


class ReplayOut(BaseModel):
    """``more_from``: there was more than is replayed at once; ask again from here."""

    model_config = example(count=12, more_from=None)

    count: int
    more_from: datetime | None = None


class PartnerEventOut(BaseModel):
    """Ids only; read the rest where you are allowed to. ``id`` is the ``webhook-id``."""

    model_config = example(
        id=EVENT_ID,
        type="booking.confirmed",
        timestamp="2026-11-24T09:15:00.000Z",
        data={
            "booking_id": "0b5c8c0e-6f0a-5b1e-9d53-3f6a2f0f2a11",
            "show_id": "7f3c2d1e-4b5a-5c6d-8e7f-9a0b1c2d3e4f",
        },
    )

    id: str
    type: str
    timestamp: str
    data: dict[str, str]


class PartnerEventList(BaseModel):
    items: list[PartnerEventOut]
    next: Annotated[
        str | None,
        Field(
            description="What to send as `after` for the next page; null when you have seen all.",
            examples=[EVENT_ID],
        ),
    ]
