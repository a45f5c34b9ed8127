"""How often a password may be tried, asked before it is looked at."""

from __future__ import annotations

from api.deps.state import AppState
from api.limit_answers import Limited
from api.limits import login_hits
from api.middleware.context import current_request


async def require_few_guesses(state: AppState, email: str) -> None:
    """Raises Limited: too many tries at this account, from here or from everywhere."""
    if state.limits is not None:
        address = current_request.get().client
        standing = await state.limits.everywhere(*login_hits(email, address))
        if standing.is_over:
            raise Limited(standing)
