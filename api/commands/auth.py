"""Register, log in, renew, log out. These answers carry credentials and are never stored."""

from __future__ import annotations

from typing import Annotated

import orjson
import structlog
from fastapi import APIRouter, Depends, Response
from starlette.requests import Request

from api.deps.guesses import opened_from_here, require_few_guesses
from api.deps.state import State
from api.deps.write import RequestId
from api.schemas.users import (
    ForgotBody,
    LoginBody,
    MailedTokenBody,
    RefreshBody,
    RegisterBody,
    ResetBody,
    SignedInOut,
)
from domain.client import client_name
from domain.errors import SeatholdError
from readmodel import users as readmodel
from services.session import SignedIn

router = APIRouter(prefix="/api/auth", tags=["accounts"])
log = structlog.get_logger("api.auth")


async def client(request: Request) -> str | None:
    return client_name(request.headers.get("user-agent", ""))


Client = Annotated[str | None, Depends(client)]


@router.post("/register", status_code=201, response_model=SignedInOut)
async def register(
    body: RegisterBody, state: State, client: Client, request_id: RequestId
) -> Response:
    """Open an account, logged in at once."""
    async with state.door.turn():
        signed_in = await state.accounts.register(
            email=body.email,
            password=body.password,
            name=body.name,
            phone=body.phone,
            client=client,
            request_id=request_id,
        )
    await opened_from_here(state, body.email)
    return _signed_in(signed_in, 201)


@router.post("/login", response_model=SignedInOut)
async def login(body: LoginBody, state: State, client: Client, request_id: RequestId) -> Response:
    """Start a session; the answer is the same for an unknown address and a wrong password."""
    try:
        async with state.door.turn():
            await require_few_guesses(state, body.email)
            signed_in = await state.accounts.login(
                email=body.email,
                password=body.password,
                client=client,
                code=body.code,
                request_id=request_id,
            )
    except SeatholdError as refused:
        log.info("login_refused", reason=refused.code)
        raise
    await opened_from_here(state, body.email)
    user = signed_in.user
    log.info("login", user_id=str(user.id), role=user.role, second_factor=user.second_factor)
    return _signed_in(signed_in, 200)


@router.post("/refresh", response_model=SignedInOut)
async def refresh(body: RefreshBody, state: State) -> Response:
    """Swap a refresh token for a new pair; one that was used before ends the whole session."""
    return _signed_in(await state.sessions.refresh(body.refresh_token), 200)


@router.post("/logout", status_code=204)
async def logout(body: RefreshBody, state: State) -> Response:
    """End the session, and with it its access tokens."""
    await state.sessions.logout(body.refresh_token)
    return Response(status_code=204)


@router.post("/verify-email", status_code=204)
async def verify_email(body: MailedTokenBody, state: State, request_id: RequestId) -> Response:
    """Show that an address is yours, by the code that was mailed to it."""
    await state.passwords.verify(body.token, request_id=request_id)
    return Response(status_code=204)


@router.post("/password/forgot", status_code=202, response_class=Response)
async def forgot_password(body: ForgotBody, state: State) -> Response:
    """Have a code mailed; the answer is the same for an address that has no account."""
    await state.passwords.forgot(body.email)
    return Response(status_code=202)


@router.post("/password/reset", status_code=204)
async def reset_password(body: ResetBody, state: State, request_id: RequestId) -> Response:
    """Choose a new password by a mailed code; every session ends."""
    owner = await state.passwords.reset(body.token, new=body.password, request_id=request_id)
    await opened_from_here(state, owner.email, alone=True)
    return Response(status_code=204)


def _signed_in(signed_in: SignedIn, status: int) -> Response:
    content = {
        "user": readmodel.shape(signed_in.user),
        "access_token": signed_in.access_token,
        "token_type": "Bearer",
        "expires_in": signed_in.expires_in,
        "refresh_token": signed_in.refresh_token,
    }
    return Response(orjson.dumps(content), status, media_type="application/json")
