"""Partners' API keys: made, rotated, revoked. Answers with a key are kept nowhere."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Response

from api.deps.read import PathId
from api.deps.write import Call, Command
from api.schemas.api_keys import ApiKeyBody, ApiKeySecretOut, RotateKeyBody
from domain.errors import NotFound
from readmodel import api_keys as readmodel
from services.staff import Act

router = APIRouter(prefix="/api/admin/api-keys", tags=["staff"])


@router.post("", status_code=201, response_model=ApiKeySecretOut)
async def create(body: ApiKeyBody, call: Command) -> Response:
    """Make a key for a partner's account; it is shown this once."""
    key_id, key = await call.state.api_keys.create(
        body.account_id,
        name=body.name,
        scopes=frozenset(body.scopes),
        per_minute=body.per_minute,
        days=body.expires_in_days,
        act=_act(call, body.reason),
    )
    return await _answer(call, key_id, key, 201)


@router.post("/{key_id}/rotate", response_model=ApiKeySecretOut)
async def rotate(key_id: PathId, body: RotateKeyBody, call: Command) -> Response:
    """A new secret for the key, shown this once; the old one works for a while."""
    key = await call.state.api_keys.rotate(
        key_id, _act(call, body.reason), grace_seconds=body.grace_seconds
    )
    return await _answer(call, key_id, key, 200)


@router.delete("/{key_id}", status_code=204)
async def revoke(
    key_id: PathId,
    call: Command,
    reason: Annotated[str, Query(min_length=1, max_length=500, examples=["Found in a log."])],
) -> Response:
    """End a key for good, within a second everywhere. A repeat is 204."""
    await call.state.api_keys.revoke(key_id, _act(call, reason))
    return Response(status_code=204)


def _act(call: Call, reason: str) -> Act:
    return Act(call.user.user_id, reason, call.request_id)


async def _answer(call: Call, key_id: UUID, key: str, status: int) -> Response:
    async with call.state.database.statements() as session:
        found = await readmodel.read(session, key_id)
    if found is None:
        raise NotFound("There is no such key.")
    return Response(orjson.dumps({**found, "key": key}), status, media_type="application/json")
