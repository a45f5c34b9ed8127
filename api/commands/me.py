"""What people do with their own account. Nothing of it is stored for a repeat."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Response

from api.deps.guesses import GuessingUser, opened_from_here
from api.deps.state import State
from api.deps.write import CurrentUser, RequestId
from api.schemas.users import (
    CodeBody,
    EndSessionsBody,
    EnrolmentOut,
    FactorBody,
    PasswordBody,
    ProfileBody,
    RecoveryCodesOut,
    RemoveFactorBody,
    UserOut,
)
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
    body: PasswordBody, user: GuessingUser, state: State, request_id: RequestId
) -> Response:
    """Choose another password; your other sessions end."""
    owner = await state.passwords.change(
        user.user_id,
        current=body.current_password,
        new=body.new_password,
        session_id=user.session_id,
        request_id=request_id,
    )
    await opened_from_here(state, owner.email, alone=True)
    return Response(status_code=204)


@router.post("/verify-email", status_code=202, response_class=Response)
async def send_verification(user: CurrentUser, state: State) -> Response:
    """Have a code mailed to your address, unless it is verified; at most one a minute."""
    await state.passwords.mail_verification(user.user_id)
    return Response(status_code=202)


@router.post("/totp", status_code=201, response_model=EnrolmentOut)
async def begin_totp(body: FactorBody, user: GuessingUser, state: State) -> Response:
    """A secret for your authenticator app; it counts once a code of it was confirmed."""
    begun = await state.factors.begin(user.user_id, body.password)
    content = {"secret": begun.secret, "uri": begun.uri}
    return Response(orjson.dumps(content), 201, media_type="application/json")


@router.post("/totp/confirm", response_model=RecoveryCodesOut)
async def confirm_totp(
    body: CodeBody, user: GuessingUser, state: State, request_id: RequestId
) -> Response:
    """Switch codes at log-in on; your other sessions end. Refresh to work with more power."""
    codes = await state.factors.confirm(
        user.user_id, body.code, session_id=user.session_id, request_id=request_id
    )
    return Response(orjson.dumps({"recovery_codes": codes}), media_type="application/json")


@router.post("/totp/remove", status_code=204)
async def remove_totp(
    body: RemoveFactorBody, user: GuessingUser, state: State, request_id: RequestId
) -> Response:
    """Switch codes at log-in off; your other sessions end."""
    await state.factors.remove(
        user.user_id,
        password=body.password,
        code=body.code,
        session_id=user.session_id,
        request_id=request_id,
    )
    return Response(status_code=204)


@router.post("/sessions/end", status_code=204)
async def end_sessions(body: EndSessionsBody, user: GuessingUser, state: State) -> Response:
    """End one of your sessions, or, without ``session_id``, all of them: this one too."""
    await state.passwords.require(user.user_id, body.password)
    if body.session_id is not None:
        await state.sessions.end(user.user_id, body.session_id)
    else:
        await state.sessions.end_all(user.user_id, reason="everywhere")
    return Response(status_code=204)
