"""Webhooks: verified, committed to the inbox, then acknowledged; a loop does the rest."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.routing import APIRoute

from api.deps.state import app_state
from api.middleware.context import current_request
from domain.errors import NotFound
from infra.postgres.inbox import NewEvent


class PlainRoute(APIRoute):
    """Calls its endpoint with the path's one parameter and the request, as they are.

    FastAPI's own work on a request that has no schema costs more than storing it.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint = self.endpoint

        async def handle(request: Request) -> Response:
            answer: Response = await endpoint(**request.path_params, request=request)
            return answer

        return handle


router = APIRouter(prefix="/api/webhooks", tags=["webhooks"], route_class=PlainRoute)


@router.post("/{provider}", status_code=204)
async def receive(
    provider: Annotated[str, Path(examples=["sandbox"])], request: Request
) -> Response:
    """Store a signed event; a duplicate is acknowledged too."""
    state, request_id = await app_state(request), current_request.get().request_id
    verifier = state.webhooks.get(provider)
    if verifier is None:
        raise NotFound(f"There is no provider {provider}.")
    body = await request.body()
    event = verifier.verify(request.headers, body)
    await state.inbox.store(
        NewEvent(
            provider=provider,
            event_id=event.event_id,
            event_type=event.event_type,
            body=event.kept,
            request_id=request_id,
            quarantine=event.quarantine,
        )
    )
    return Response(status_code=204)
