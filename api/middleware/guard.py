"""Nothing passes that the policy does not let pass, and no body is read before it does.

The guard knows the application's routes as the router does, in the same order and by the same
patterns. What it does not know it refuses, so a route that came by another way cannot be reached.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from fastapi.routing import iter_route_contexts
from starlette._utils import get_route_path
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import CODE_OF_STATUS, refusal
from api.policy import OPTIONAL, Rule, Who
from api.problems import problem
from domain.errors import Forbidden, SeatholdError
from infra.tokens import Principal

Authenticate = Callable[[Request], Awaitable[Principal]]
PARAMETER = re.compile(r"\{[^}]*\}")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class Guarded:
    """A route and its rule. ``line`` is that of the policy, ``pattern`` the router's own."""

    line: str
    pattern: re.Pattern[str]
    route: BaseRoute
    rule: Rule


class Access:
    """Which rule a request meets.

    Raises:
        RuntimeError: a route has no line in the policy, a line has no route, or one route hides
            another, whose rule would then never count.
    """

    def __init__(self, routes: Sequence[BaseRoute], policy: Mapping[str, Rule]) -> None:
        known = {
            f"{method} {context.path}": context
            for context in iter_route_contexts(routes)
            for method in sorted(context.methods or {"ANY"})
        }
        _require_lines(known.keys(), policy)
        # Few patterns are tried for a request: those for its method and number of parts.
        self._by_shape: dict[tuple[str, int], list[Guarded]] = {}
        self._wild: dict[str, list[Guarded]] = {}
        for key, context in known.items():
            method, path = key.split(" ", 1)
            if self.find(method, PARAMETER.sub("0", path)) is not None:
                raise RuntimeError(f"{key} is hidden by a route before it")
            line = _line(key)
            guarded = Guarded(line, context.path_regex, context.original_route, policy[line])
            if ":path}" in path:
                self._wild.setdefault(method, []).append(guarded)
            elif self._wild:
                raise RuntimeError(f"{key} comes after a route for many paths; put it before")
            else:
                self._by_shape.setdefault((method, path.count("/")), []).append(guarded)

    def find(self, method: str, path: str) -> Guarded | None:
        """The first that fits, as the router chooses; to its last character, unlike the router.

        The router's ``$`` would let a line end follow.
        """
        for one in self._by_shape.get((method, path.count("/")), ()):
            if one.pattern.fullmatch(path):
                return one
        for one in self._wild.get(method, ()):
            if one.pattern.fullmatch(path):
                return one
        return None

    def allowed(self, path: str) -> str:
        """What ``Allow`` says of a path; empty where there is nothing."""
        known = [method for method in METHODS if self.find(method, path)]
        if "GET" in known and "HEAD" not in known:
            known.append("HEAD")
        return ", ".join([*known, "OPTIONS"]) if known else ""


def _line(key: str) -> str:
    """The line of the policy for a route: Starlette answers HEAD where it answers GET."""
    return key.replace("HEAD ", "GET ", 1)


def _require_lines(known: Collection[str], policy: Mapping[str, Rule]) -> None:
    wanted = {_line(key) for key in known}
    bare = sorted(wanted - policy.keys())
    if bare:
        raise RuntimeError(f"routes without a line in api/policy.py: {', '.join(bare)}")
    idle = sorted(policy.keys() - wanted - OPTIONAL)
    if idle:
        raise RuntimeError(f"lines of api/policy.py without a route: {', '.join(idle)}")


class Guard:
    """``access`` is bound when the application is put together; ``authenticate`` says who asks.

    ``second_factor``: a role's power needs a session that was opened with a code.
    """

    def __init__(
        self, app: ASGIApp, access: Access, authenticate: Authenticate, *, second_factor: bool
    ) -> None:
        self._app = app
        self._access = access
        self._authenticate = authenticate
        self._second_factor = second_factor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close"})
            return
        path = get_route_path(scope)
        guarded = self._access.find(scope["method"], path)
        if guarded is None:
            await self._unknown(path)(scope, receive, send)
            return
        # The router sets it too; here for requests that do not get there, so that they count.
        scope["route"] = guarded.route
        try:
            if guarded.rule.who is not Who.PUBLIC:
                principal = await self._authenticate(Request(scope))
                scope.setdefault("state", {})["principal"] = admitted(
                    guarded.rule, principal, second_factor=self._second_factor
                )
        except SeatholdError as error:
            await refusal(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _unknown(self, path: str) -> Response:
        allowed = self._access.allowed(path)
        status = 405 if allowed else 404
        headers = {"Allow": allowed} if allowed else None
        return problem(status, *CODE_OF_STATUS[status], headers=headers)


def admitted(rule: Rule, principal: Principal, *, second_factor: bool = False) -> Principal:
    """Who a route is told it works for.

    Where ``second_factor`` is needed, a session without one has no more power than a buyer's.

    Raises:
        Forbidden: the rule does not let the principal in, or ``second_factor_required``.
    """
    if principal.key is not None:
        # A key has its scopes and nothing else: not even what its account may do.
        if rule.scope is None:
            raise Forbidden("No API key may call this.")
        if rule.scope not in principal.key.scopes:
            raise Forbidden(f"This needs an API key with the scope {rule.scope}.")
        return principal
    is_weak = second_factor and not principal.second_factor
    if rule.who is Who.STAFF and principal.role not in rule.roles:
        raise Forbidden("This needs another role than your account has.")
    if rule.who is Who.STAFF and is_weak:
        raise Forbidden(
            "The staff's work needs a second factor: POST /api/me/totp, then log in with a code.",
            code="second_factor_required",
        )
    if rule.who is Who.OWN and principal.role in rule.roles and not is_weak:
        return replace(principal, sees_all=True)
    return principal
