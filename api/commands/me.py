"""What people do with their own account.

What answers with a secret or with recovery codes is not stored for a repeat; the rest is.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

import orjson
from fastapi import APIRouter, Request, Response

from api.commands.idempotency import canonical_hash, idempotent
from api.deps.guesses import GuessingUser, opened_from_here
from api.deps.state import AppState, State
from api.deps.write import CurrentUser, IdempotencyKey, RequestId
from api.schemas.common import NoFields
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
from infra.tokens import Principal
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
    body: PasswordBody,
    request: Request,
    user: GuessingUser,
    state: State,
    key: IdempotencyKey,
    request_id: RequestId,
) -> Response:
    """Choose another password; your other sessions end."""

    async def run() -> Response:
        owner = await state.passwords.change(
            user.user_id,
            current=body.current_password,
            new=body.new_password,
            session_id=user.session_id,
            request_id=request_id,
        )
        await opened_from_here(state, owner.email, alone=True)
        return Response(status_code=204)

    return await _once(state, user, "POST /api/me/password", key, request, run)


@router.post("/verify-email", status_code=202, response_class=Response)
async def send_verification(
    request: Request,
    user: CurrentUser,
    state: State,
    key: IdempotencyKey,
    body: NoFields | None = None,
) -> Response:
    """Have a code mailed to your address, unless it is verified; at most one a minute."""

    async def run() -> Response:
        await state.passwords.mail_verification(user.user_id)
        return Response(status_code=202)

    return await _once(state, user, "POST /api/me/verify-email", key, request, run)


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
    body: RemoveFactorBody,
    request: Request,
    user: GuessingUser,
    state: State,
    key: IdempotencyKey,
    request_id: RequestId,
) -> Response:
    """Switch codes at log-in off; your other sessions end."""

    async def run() -> Response:
        await state.factors.remove(
            user.user_id,
            password=body.password,
            code=body.code,
            session_id=user.session_id,
            request_id=request_id,
        )
        return Response(status_code=204)

    return await _once(state, user, "POST /api/me/totp/remove", key, request, run)


@router.post("/sessions/end", status_code=204)
async def end_sessions(
    body: EndSessionsBody, request: Request, user: GuessingUser, state: State, key: IdempotencyKey
) -> Response:
    """End one of your sessions, or, without ``session_id``, all of them: this one too."""

    async def run() -> Response:
        await state.passwords.require(user.user_id, body.password)
        if body.session_id is not None:
            await state.sessions.end(user.user_id, body.session_id)
        else:
            await state.sessions.end_all(user.user_id, reason="everywhere")
        return Response(status_code=204)

    return await _once(state, user, "POST /api/me/sessions/end", key, request, run)


async def _once(
    state: AppState,
    user: Principal,
    route: str,
    key: str | None,
    request: Request,
    run: Callable[[], Awaitable[Response]],
) -> Response:
    """As ``idempotent``; what is kept of a body with a password is of no use without our keys."""
    if key is None:
        return await run()
    secret = state.settings.key_ring.secrets("seathold repeated body 1")[0]
    sealed = hmac.digest(secret, canonical_hash(await request.body()), "sha256")
    return await idempotent(state, user, route, key, sealed, run, accepted_is_final=True)
