"""Webhooks: verified, committed to the inbox, then acknowledged; a loop does the rest."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from api.deps.state import State
from api.deps.write import RequestId
from domain.errors import NotFound
from infra.gateways.webhooks import verify_webhook
from infra.postgres import inbox

router = APIRouter(prefix="/api/webhooks", tags=["webhooks"])


@router.post("/{provider}", status_code=204)
async def receive(
    provider: Annotated[str, Path(examples=["sandbox"])],
    request: Request,
    state: State,
    request_id: RequestId,
) -> Response:
    """Store a signed event; a duplicate is acknowledged too."""
    if provider not in state.gateways:
        raise NotFound(f"There is no provider {provider}.")
    body = await request.body()
    secrets = [state.settings.webhook_secret.get_secret_value()]
    event = verify_webhook(secrets, request.headers, body)
    await inbox.store(
        state.database,
        provider=provider,
        event_id=event.event_id,
        event_type=event.event_type,
        body=body,
        request_id=request_id,
    )
    return Response(status_code=204)
