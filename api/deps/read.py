"""What queries are given: who asks, a connection to read from, ids out of paths."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from fastapi.params import Path
from pydantic import BeforeValidator
from starlette.requests import Request

from api.deps.keys import proven_key
from api.deps.state import app_state
from api.schemas.common import as_id
from domain.errors import NotFound, Unauthenticated
from infra.postgres.database import Session
from infra.tokens import Principal, TokenSigner

# No access token begins like this.
KEY_MARK = "sk_"
ID_EXAMPLE = "0b5c8c0e-6f0a-5b1e-9d53-3f6a2f0f2a11"


async def authenticate(request: Request) -> Principal:
    """Who asks, by ``Authorization: Bearer`` or ``X-API-Key``; for the guard, once a request.

    Raises:
        Unauthenticated: there is no credential, or there are two; it is not valid, or is over.
    """
    state, api_key = await app_state(request), request.headers.get("x-api-key")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if api_key is not None and scheme:
        raise Unauthenticated("Send an access token or an API key, not both.")
    if api_key is None and scheme.lower() != "bearer":
        raise Unauthenticated("Log in, and send the access token as a bearer.")
    token = (token if api_key is None else api_key).strip()
    if api_key is not None or token.startswith(KEY_MARK):
        return await proven_key(state, token)
    principal = state.signer.verify(token)
    await state.ended_sessions.require_live(principal.session_id)
    return principal


async def current_user(request: Request) -> Principal:
    """Whom the guard let in.

    Raises:
        Unauthenticated: nobody, for the policy opens this route to everybody.
    """
    found: Principal | None = getattr(request.state, "principal", None)
    if found is None:
        raise Unauthenticated("Nobody is asked here who they are.")
    return found


async def read_connection(request: Request) -> AsyncIterator[Session]:
    async with (await app_state(request)).database.statements() as session:
        yield session


async def signer(request: Request) -> TokenSigner:
    return (await app_state(request)).signer


def _id(value: object) -> object:
    """A malformed id names nothing, so it is not found rather than invalid."""
    try:
        return as_id(value)
    except ValueError as error:
        raise NotFound("There is no such thing; the id is malformed.") from error


CurrentUser = Annotated[Principal, Depends(current_user)]
# Given back before the answer is sent: a slow reader must not keep a connection.
ReadConnection = Annotated[Session, Depends(read_connection, scope="function")]
Signer = Annotated[TokenSigner, Depends(signer)]
PathId = Annotated[UUID, BeforeValidator(_id), Path(examples=[ID_EXAMPLE])]
