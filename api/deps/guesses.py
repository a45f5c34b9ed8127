"""How often a password or a code may be tried, asked before it is looked at."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from api.deps.read import CurrentUser
from api.deps.state import AppState, State
from api.limit_answers import Limited
from api.limits import again_hits, login_hits
from api.middleware.client import who
from api.middleware.context import current_request
from domain.user import email_key
from infra.rate_limits import Hit
from infra.tokens import Principal


async def require_few_guesses(state: AppState, email: str) -> None:
    """Raises Limited: too many tries at this account, from here or from everywhere."""
    if state.limits is None:
        return
    account, place = email_key(email), who(current_request.get().client)
    known = await state.places.knows(account, place)
    await _require_few(state, login_hits(account, place, known=known))


async def opened_from_here(state: AppState, email: str, *, alone: bool = False) -> None:
    """Strangers' tries do not count for who tries from here; ``alone``: from nowhere else."""
    if state.limits is not None:
        place = who(current_request.get().client)
        await state.places.remember(email_key(email), place, alone=alone)


async def guessing_user(user: CurrentUser, state: State) -> Principal:
    """Who is logged in and is asked for a password or a code again.

    Raises:
        Limited: too many tries at this account, from here or from everywhere.
    """
    await _require_few(state, again_hits(user.user_id, current_request.get().client))
    return user


async def _require_few(state: AppState, hits: tuple[Hit, ...]) -> None:
    if state.limits is not None:
        standing = await state.limits.everywhere(*hits)
        if standing.is_over:
            raise Limited(standing)


GuessingUser = Annotated[Principal, Depends(guessing_user)]
