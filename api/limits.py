"""What is limited by whom, in one table; a route that is not named here has the default limits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from starlette.types import Scope

from api.middleware.client import Address, who
from api.middleware.guard import Guarded
from api.policy import Who
from domain.api_key import MAX_PER_MINUTE
from domain.errors import SeatholdError
from infra.rate_limits import Hit, Policy

MINUTE, HOUR = 60, 3600
REGISTER = Policy("register", 5, HOUR)
# Each may be a mail to somebody who did not ask for it.
FORGOT = Policy("forgot", 5, HOUR)
BY_ROUTE = {"POST /api/auth/register": REGISTER, "POST /api/auth/password/forgot": FORGOT}
# By account and address, so that a stranger's guesses do not lock the owner out; and by account
# alone, so that guesses from everywhere are few. The second is not for where the account was opened
# from of late, or strangers could use it up for the owner.
LOGIN_FROM_HERE = Policy("login", 10, 15 * MINUTE)
LOGIN_OF_ACCOUNT = Policy("account", 100, HOUR)
# The same for the password and the codes that somebody who is logged in is asked for again: a
# stolen token must not be a way to guess them.
AGAIN_FROM_HERE = Policy("again", 10, 15 * MINUTE)
AGAIN_OF_ACCOUNT = Policy("again-account", 100, HOUR)
# Providers send in bursts and from few addresses; a refused one is sent again.
WEBHOOKS = Policy("webhooks", 6000, MINUTE)
STREAMS = Policy("streams", 60, MINUTE)
OPERATIONS = Policy("operations", 600, MINUTE)
# A key's own limit is asked once it is proven (``api.deps.keys``); this bounds the asking, and no
# key that was given the most.
KEYED = Policy("keyed", MAX_PER_MINUTE, MINUTE)
KEY_GUESSES = Policy("key-guesses", 20, MINUTE)
KEY_MARK = "sk_"

UNLIMITED = frozenset({"/healthz"})
OPERATION_PATHS = frozenset({"/readyz", "/metrics"})
PUBLIC = ("/api/movies", "/api/theatres", "/api/shows/", "/api/show/", "/api/queue/")
NOWHERE = "nowhere"

Identify = Callable[[Scope], str | None]
FindRoute = Callable[[Scope], Guarded | None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to count for a request, and whether every process has to know of it."""

    hits: tuple[Hit, ...]
    shared: bool


class LimitTable:
    """``per_minute``: requests of one address, and of one user on one route.

    ``route_of`` finds the route that will answer, as the guard does: limits that looked at the
    address themselves could be led to another.
    """

    def __init__(self, per_minute: int, identify: Identify, route_of: FindRoute) -> None:
        self.by_address = Policy("default", per_minute, MINUTE)
        self.by_user = Policy("user", per_minute, MINUTE)
        self._identify = identify
        self._route_of = route_of

    def plan(self, scope: Scope, address: Address | None) -> Plan | None:
        """None: not limited."""
        path, method, here = scope["path"], scope["method"], who(address)
        if path in UNLIMITED:
            return None
        own = _policy_of_its_own(path)
        if own is not None:
            return Plan((Hit(own, here),), shared=False)
        by_address = Hit(self.by_address, here)
        is_read = method in ("GET", "HEAD", "OPTIONS")
        if is_read and path.startswith(PUBLIC):
            return Plan((by_address,), shared=False)
        route = self._route_of(scope)
        line = NOWHERE if route is None else route.line
        if line in BY_ROUTE:
            return Plan((by_address, Hit(BY_ROUTE[line], here)), shared=True)
        # A key on an open route proves nothing and so excuses nothing.
        if route is not None and route.rule.who is not Who.PUBLIC and has_key(scope):
            return Plan((Hit(KEYED, here),), shared=False)
        user = self._identify(scope)
        if user is not None:
            return Plan((by_address, Hit(self.by_user, f"{user} {line}")), shared=True)
        return Plan((by_address,), shared=not is_read)


def login_hits(account: str, place: str, *, known: bool) -> tuple[Hit, ...]:
    """To be counted before a password is looked at, whether there is such an account or not.

    ``account`` is the key that it is looked up by: else each other spelling of its address would
    have windows of its own. ``known``: it was opened from this place of late.
    """
    account = hashlib.sha256(account.encode()).hexdigest()
    from_here = Hit(LOGIN_FROM_HERE, f"{account} {place}")
    return (from_here,) if known else (from_here, Hit(LOGIN_OF_ACCOUNT, account))


def again_hits(user_id: UUID, address: Address | None) -> tuple[Hit, ...]:
    """To be counted before a password or code is looked at that was asked for again."""
    return (
        Hit(AGAIN_FROM_HERE, f"{user_id} {who(address)}"),
        Hit(AGAIN_OF_ACCOUNT, str(user_id)),
    )


def has_key(scope: Scope) -> bool:
    """Whether the request comes with an API key, or with what looks like one."""
    if any(name == b"x-api-key" for name, _ in scope["headers"]):
        return True
    return (bearer_of(scope) or "").startswith(KEY_MARK)


def bearer_of(scope: Scope) -> str | None:
    """The credential of ``Authorization: Bearer``."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, credential = value.decode("latin-1").partition(" ")
            return credential.strip() if scheme.lower() == "bearer" else None
    return None


def identify_by(verify: Callable[[str], object]) -> Identify:
    """Who a token speaks for, by ``verify``; a token that is none of ours speaks for nobody."""

    def identify(scope: Scope) -> str | None:
        credential = bearer_of(scope)
        if credential is None:
            return None
        try:
            return str(verify(credential))
        except SeatholdError:
            return None

    return identify


def _policy_of_its_own(path: str) -> Policy | None:
    if path.startswith("/api/webhooks/"):
        return WEBHOOKS
    if path.endswith("/stream"):
        return STREAMS
    return OPERATIONS if path in OPERATION_PATHS else None
