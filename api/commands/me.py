"""What people do with their own account. Nothing of it is stored for a repeat."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.deps.state import State
from api.deps.write import CurrentUser, PathId

router = APIRouter(prefix="/api/me", tags=["accounts"])


@router.delete("/sessions/{session_id}", status_code=204)
async def end_session(session_id: PathId, user: CurrentUser, state: State) -> Response:
    """End one of your sessions, this one or another."""
    await state.sessions.end(user.user_id, session_id)
    return Response(status_code=204)


@router.delete("/sessions", status_code=204)
async def end_sessions(user: CurrentUser, state: State) -> Response:
    """Log out everywhere, here too."""
    await state.sessions.end_all(user.user_id, reason="everywhere")
    return Response(status_code=204)
