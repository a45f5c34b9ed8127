"""API keys are limited by themselves, wherever they come from; guesses at them by address."""

from __future__ import annotations

from api.deps.state import AppState
from api.limit_answers import Limited
from api.limits import KEY_GUESSES, MINUTE
from api.middleware.client import who
from api.middleware.context import current_request
from domain.errors import Unauthenticated
from infra.rate_limits import Hit, Policy
from infra.tokens import Principal


async def proven_key(state: AppState, key: str) -> Principal:
    """Whom the key speaks for.

    Raises:
        Unauthenticated: it is none of ours. Limited: too many requests with it, or too many
            guesses from this address.
    """
    limits = state.limits
    if limits is None:
        return await state.api_key_check.verify(key)
    guess = Hit(KEY_GUESSES, who(current_request.get().client))
    if (full := limits.known_full(guess)) is not None:
        raise Limited(full)
    try:
        principal = await state.api_key_check.verify(key)
    except Unauthenticated:
        await limits.everywhere(guess)
        raise
    if principal.key is not None:
        own = Policy("key", principal.key.per_minute, MINUTE)
        standing = await limits.everywhere(Hit(own, str(principal.session_id)))
        if standing.is_over:
            raise Limited(standing)
    return principal
