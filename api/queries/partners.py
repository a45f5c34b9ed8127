"""What a partner reads: its endpoints, what became of deliveries, and the feed of events."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Response

from api.deps.read import CurrentUser, PathId, ReadConnection
from api.queries import etag, page
from api.schemas.common import Id
from api.schemas.partners import (
    DELIVERY_ID,
    EVENT_ID,
    DeliveryList,
    DeliveryLogOut,
    EndpointList,
    EndpointOut,
    PartnerEventList,
)
from domain.errors import NotFound
from domain.limits import PAGE_DEFAULT
from domain.partner import DeliveryState, webhook_id
from readmodel import partners as readmodel

router = APIRouter(prefix="/api/partner", tags=["partners"])


@router.get("/endpoints", response_model=EndpointList)
async def endpoints(user: CurrentUser, connection: ReadConnection) -> Response:
    """Your endpoints, oldest first; there are never more than a page of them."""
    found = await readmodel.endpoints(connection, user.user_id)
    return _json({"items": found, "next": None})


@router.get("/endpoints/{endpoint_id}", response_model=EndpointOut)
async def endpoint(
    endpoint_id: PathId,
    user: CurrentUser,
    connection: ReadConnection,
    if_none_match: etag.IfNoneMatch,
) -> Response:
    """One endpoint; its `ETag` goes into the `If-Match` of a change."""
    found = await readmodel.endpoint(connection, user.user_id, endpoint_id)
    if found is None:
        raise NotFound("There is no such endpoint.")
    return etag.answer(found, if_none_match)


@router.get("/deliveries", response_model=DeliveryList)
async def deliveries(
    user: CurrentUser,
    connection: ReadConnection,
    endpoint_id: Annotated[Id | None, Query(examples=[DELIVERY_ID])] = None,
    state: DeliveryState | None = None,
    limit: page.Limit = PAGE_DEFAULT,
    cursor: page.Cursor = None,
) -> Response:
    """What was to be sent in the last 30 days and what became of it, newest first."""
    items, place = await readmodel.deliveries(
        connection,
        user.user_id,
        endpoint_id=endpoint_id,
        state=state,
        before=page.moment(cursor),
        limit=limit,
    )
    return page.answer(items, page.after(place))


@router.get("/deliveries/{delivery_id}", response_model=DeliveryLogOut)
async def delivery(delivery_id: PathId, user: CurrentUser, connection: ReadConnection) -> Response:
    """One delivery with the log of its tries."""
    found = await readmodel.delivery(connection, user.user_id, delivery_id)
    if found is None:
        raise NotFound("There is no such delivery.")
    return _json(found)


@router.get("/events", response_model=PartnerEventList)
async def events(
    connection: ReadConnection,
    after: Annotated[str, Query(pattern=r"^evt_[0-9]{16}$", examples=[EVENT_ID])] = webhook_id(0),
    limit: page.Limit = PAGE_DEFAULT,
) -> Response:
    """Everything that partners are told, of the last 30 days, in the order of its ids.

    Keep the id of the last event you have dealt with and ask for what came after it.
    """
    items, more = await readmodel.events(connection, int(after.removeprefix("evt_")), limit)
    return page.answer(items, webhook_id(more) if more is not None else None)


def _json(content: object) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
