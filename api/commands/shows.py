"""What the staff does with shows: cancel one, or see what that would do."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request, Response

from api.commands.idempotency import idempotent
from api.deps.read import PathId
from api.deps.write import Command
from api.schemas.shows import CancelShowBody, ShowCancelOut, ShowCancelPlanOut
from readmodel import catalogue, show_cancel
from services.show_ports import CancelShow

router = APIRouter(prefix="/api/admin/shows", tags=["shows"])


@router.post(
    "/{show_id}/cancel",
    status_code=202,
    response_model=ShowCancelOut,
    responses={200: {"model": ShowCancelPlanOut, "description": "What a dry run says."}},
)
async def cancel(
    show_id: PathId, body: CancelShowBody, request: Request, call: Command
) -> Response:
    """Stop the sale at once, end all holds, and send everybody's money back; for good."""
    state = call.state
    wish = CancelShow(show_id, body.reason, str(call.user.user_id), call.request_id)

    async def run() -> Response:
        if body.dry_run:
            plan = await state.show_desk.plan(show_id)
            return Response(orjson.dumps(plan.as_json()), 200, media_type="application/json")
        await state.show_desk.cancel(wish)
        state.shows.forget(show_id)
        async with state.database.statements() as session:
            found = await show_cancel.read(session, show_id)
            movie_id = await catalogue.movie_of_show(session, show_id)
        if movie_id is not None:
            await state.news.show_changed(show_id, movie_id)
        return Response(orjson.dumps(found), 202, media_type="application/json")

    route = f"POST /api/admin/shows/{show_id}/cancel"
    return await idempotent(state, call.user, route, call.key, await request.body(), run)
