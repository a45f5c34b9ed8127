"""What a partner does with its endpoints: make, change, rotate, try out, replay, delete."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

import orjson
from fastapi import APIRouter, Request, Response

from api.commands.idempotency import idempotent
from api.deps.if_match import IfMatch, versions
from api.deps.read import PathId
from api.deps.write import Call, Command
from api.schemas.common import NoFields
from api.schemas.partners import (
    DeliveryOut,
    EndpointBody,
    EndpointChange,
    EndpointOut,
    EndpointSecretOut,
    ReplayBody,
    ReplayOut,
    RotateBody,
)
from domain.errors import NotFound
from domain.partner import OVERLAP_SECONDS
from readmodel import partners as readmodel
from readmodel.instants import stamp
from services.partner import Owner, Wish

router = APIRouter(prefix="/api/partner", tags=["partners"])
NO_STORE = {"Cache-Control": "no-store"}


@router.post("/endpoints", status_code=201, response_model=EndpointSecretOut)
async def create(body: EndpointBody, call: Command) -> Response:
    """Tell us where you listen; the answer has the secret that signs, this once."""
    endpoint_id, secret = await call.state.partners.create(
        _owner(call), url=body.url, description=body.description, event_types=body.event_types
    )
    return await _endpoint(call, endpoint_id, status=201, secret=secret)


@router.patch("/endpoints/{endpoint_id}", response_model=EndpointOut)
async def change(
    endpoint_id: PathId, body: EndpointChange, call: Command, if_match: IfMatch
) -> Response:
    """Another address or other events; disable it, or enable it again."""
    wish = Wish(body.url, body.description, body.event_types, body.enabled)
    await call.state.partners.change(_owner(call), endpoint_id, versions(if_match), wish)
    return await _endpoint(call, endpoint_id)


@router.post("/endpoints/{endpoint_id}/rotate", response_model=EndpointSecretOut)
async def rotate(endpoint_id: PathId, call: Command, body: RotateBody | None = None) -> Response:
    """A new secret, shown this once; for a while both sign, each signature beside the other."""
    overlap = body.overlap_seconds if body else OVERLAP_SECONDS
    secret = await call.state.partners.rotate(_owner(call), endpoint_id, overlap_seconds=overlap)
    return await _endpoint(call, endpoint_id, secret=secret)


@router.delete("/endpoints/{endpoint_id}", status_code=204)
async def remove(endpoint_id: PathId, call: Command) -> Response:
    """Nothing more is sent there; its deliveries and their log go with it."""
    await call.state.partners.remove(_owner(call), endpoint_id)
    return Response(status_code=204)


@router.post("/endpoints/{endpoint_id}/test", status_code=202, response_model=DeliveryOut)
async def send_test(
    endpoint_id: PathId, request: Request, call: Command, body: NoFields | None = None
) -> Response:
    """Send an `endpoint.test` event there; read the delivery to see how it went."""

    async def run() -> Response:
        delivery_id = await call.state.partners.send_test(_owner(call), endpoint_id)
        return await _delivery(call, delivery_id)

    return await _once(call, request, f"endpoints/{endpoint_id}/test", run)


@router.post("/endpoints/{endpoint_id}/replay", status_code=202, response_model=ReplayOut)
async def replay_since(
    endpoint_id: PathId, body: ReplayBody, request: Request, call: Command
) -> Response:
    """Send again whatever this endpoint is owed since an instant, 10,000 events at once."""

    async def run() -> Response:
        done = await call.state.partners.replay_since(_owner(call), endpoint_id, body.since)
        more_from = stamp(done.more_from) if done.more_from else None
        told = {"count": done.count, "more_from": more_from}
        return Response(orjson.dumps(told), 202, media_type="application/json")

    return await _once(call, request, f"endpoints/{endpoint_id}/replay", run)


@router.post("/deliveries/{delivery_id}/replay", status_code=202, response_model=DeliveryOut)
async def replay(
    delivery_id: PathId, request: Request, call: Command, body: NoFields | None = None
) -> Response:
    """Send one delivery again, with the same `webhook-id` and body."""

    async def run() -> Response:
        await call.state.partners.replay(_owner(call), delivery_id)
        return await _delivery(call, delivery_id)

    return await _once(call, request, f"deliveries/{delivery_id}/replay", run)


def _owner(call: Call) -> Owner:
    return Owner(call.user.user_id, call.request_id)


async def _once(
    call: Call, request: Request, path: str, run: Callable[[], Awaitable[Response]]
) -> Response:
    """A 202 here says that it is queued, and a repeat would queue it again."""
    route, body = f"POST /api/partner/{path}", await request.body()
    return await idempotent(
        call.state, call.user, route, call.key, body, run, accepted_is_final=True
    )


async def _endpoint(
    call: Call, endpoint_id: UUID, *, status: int = 200, secret: str | None = None
) -> Response:
    async with call.state.database.statements() as session:
        found = await readmodel.endpoint(session, call.user.user_id, endpoint_id)
    if found is None:
        raise NotFound("There is no such endpoint.")
    headers = {"ETag": f'"{found["version"]}"'}
    if secret is not None:
        found, headers = {**found, "secret": secret}, {**headers, **NO_STORE}
    return Response(orjson.dumps(found), status, headers, "application/json")


async def _delivery(call: Call, delivery_id: UUID) -> Response:
    async with call.state.database.statements() as session:
        found = await readmodel.delivery(session, call.user.user_id, delivery_id)
    if found is None:
        raise NotFound("There is no such delivery.")
    del found["tries"]
    return Response(orjson.dumps(found), 202, media_type="application/json")
