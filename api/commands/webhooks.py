"""Webhooks: verified, committed to the inbox, then acknowledged; a loop does the rest."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import APIRouter, Path, Request, Response

from api.deps.state import State
from api.deps.write import RequestId
from domain.errors import NotFound
from infra.postgres import inbox

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/api/webhooks", tags=["webhooks"])


@router.post("/{provider}", status_code=204)
async def receive(
    provider: Annotated[str, Path(examples=["sandbox"])],
    request: Request,
    state: State,
    request_id: RequestId,
) -> Response:
    """Store a signed event; a duplicate is acknowledged too."""
    verifier = state.webhooks.get(provider)
    if verifier is None:
        raise NotFound(f"There is no provider {provider}.")
    body = await request.body()
    event = verifier.verify(request.headers, body)
    await inbox.store(
        state.database,
        provider=provider,
        event_id=event.event_id,
        event_type=event.event_type,
        body=body,
        request_id=request_id,
        quarantine=event.quarantine,
    )
    if event.quarantine is not None:
        log.warning("webhook_quarantined", type=event.event_type, reason=event.quarantine)
    return Response(status_code=204)
