"""What people do with their own account. Nothing of it is stored for a repeat."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Response

from api.deps.state import State
from api.deps.write import CurrentUser, PathId, RequestId
from api.schemas.users import PasswordBody, ProfileBody, UserOut
from readmodel import users as readmodel

router = APIRouter(prefix="/api/me", tags=["accounts"])


@router.patch("", response_model=UserOut)
async def change_me(
    body: ProfileBody, user: CurrentUser, state: State, request_id: RequestId
) -> Response:
    """Change what is named; the rest stays as it is."""
    changed = await state.profiles.change(user.user_id, body.changes(), request_id=request_id)
    return Response(orjson.dumps(readmodel.shape(changed)), media_type="application/json")


@router.delete("", status_code=204)
async def erase_me(user: CurrentUser, state: State, request_id: RequestId) -> Response:
    """Erase your account; bookings and money stay, as nobody's."""
    await state.profiles.erase(user.user_id, request_id=request_id)
    return Response(status_code=204)


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
