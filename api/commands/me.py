"""What people do with their own account. Nothing of it is stored for a repeat."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.deps.state import State
from api.deps.write import CurrentUser, PathId, RequestId
from api.schemas.users import PasswordBody

router = APIRouter(prefix="/api/me", tags=["accounts"])


@router.post("/password", status_code=204)
async def change_password(
    body: PasswordBody, user: CurrentUser, state: State, request_id: RequestId
) -> Response:
    """Choose another password; your other sessions end."""
    await state.passwords.change(
        user.user_id,
        current=body.current_password,
        new=body.new_password,
        session_id=user.session_id,
        request_id=request_id,
    )
    return Response(status_code=204)


@router.post("/verify-email", status_code=202)
async def send_verification(user: CurrentUser, state: State) -> Response:
    """Have a code mailed to your address, unless it is verified; at most one a minute."""
    await state.passwords.mail_verification(user.user_id)
    return Response(status_code=202)


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
