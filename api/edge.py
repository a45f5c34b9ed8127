"""The edge put together: what stands around every route, and at the door of the fast way."""

from __future__ import annotations

from fastapi import FastAPI
from starlette._utils import get_route_path
from starlette.types import Scope

from api.deps.read import authenticate
from api.hot.door import Door
from api.limits import LimitTable, identify_by
from api.middleware.body import BodyRules
from api.middleware.cors import Cors
from api.middleware.frame import RequestFrame, safe_headers
from api.middleware.gate import Gate, hosts_of
from api.middleware.guard import Access, Guard, Guarded
from api.middleware.limits import RequestLimits
from infra.settings import Settings


def surround(app: FastAPI, settings: Settings, access: Access) -> None:
    """Add the layers, the innermost first: what costs the least to refuse is refused first."""
    app.add_middleware(BodyRules)
    app.add_middleware(
        Guard,
        access=access,
        authenticate=authenticate,
        second_factor=settings.staff_needs_second_factor,
    )
    app.add_middleware(Gate, settings=settings, access=access)
    table = _table(app, settings, access)
    if table is not None:
        app.add_middleware(RequestLimits, table=table, state=app.state)
    if settings.cors_origins:
        app.add_middleware(Cors, allow_origins=settings.cors_origins)
    app.add_middleware(
        RequestFrame,
        metrics=app.state.metrics,
        trusted_proxies=settings.trusted_proxies,
        safe=_safe(settings),
    )


def door_of(app: FastAPI, settings: Settings) -> Door:
    """The same rules for what is answered before the layers."""
    return Door(
        app.state,
        hosts=hosts_of(settings),
        trusted_proxies=settings.trusted_proxies,
        table=_table(app, settings, None),
        safe=_safe(settings),
        origins=settings.cors_origins,
    )


def _table(app: FastAPI, settings: Settings, access: Access | None) -> LimitTable | None:
    """``access`` is None where only public reads are let in, whatever their route."""
    if not settings.rate_limit_per_minute:
        return None

    def route_of(scope: Scope) -> Guarded | None:
        if access is None:
            return None
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        return access.find(method, get_route_path(scope))

    return LimitTable(
        settings.rate_limit_per_minute,
        identify_by(lambda token: app.state.parts.signer.verify(token).user_id),
        route_of,
    )


def _safe(settings: Settings) -> tuple[tuple[bytes, bytes], ...]:
    return safe_headers(https=settings.public_url.startswith("https://"))
