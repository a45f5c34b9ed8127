"""What is decided by a request's first lines: under which name, from where, with which method."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette._utils import get_route_path
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import CODE_OF_STATUS
from api.middleware.client import Network, within
from api.middleware.context import current_request
from api.middleware.guard import Access
from api.problems import problem
from infra.settings import Settings

# Asked by machines that know an address of ours and no name.
NAMELESS = frozenset({"/healthz", "/readyz", "/metrics"})
# In the scope of a HEAD, which routes meet as a GET.
HEAD_ONLY = "seathold.head_only"


class Gate:
    """Hosts and networks as the settings name them; ``HEAD`` and ``OPTIONS`` for every route."""

    def __init__(self, app: ASGIApp, settings: Settings, access: Access) -> None:
        self._app = app
        self._access = access
        self._hosts = hosts_of(settings)
        self._metrics_networks = _metrics_networks(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        refused = self._refused(scope)
        if refused is not None:
            await refused(scope, receive, send)
        elif method == "HEAD":
            read = {**scope, "method": "GET", HEAD_ONLY: True}
            await self._app(read, receive, _headers_alone(send))
        elif method == "OPTIONS":
            await self._options(scope)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refused(self, scope: Scope) -> Response | None:
        path: str = scope["path"]
        if self._hosts and path not in NAMELESS and host_of(scope) not in self._hosts:
            return problem(421, "misdirected", "This server does not answer under that name.")
        if path == "/metrics" and not self._may_read_metrics():
            return problem(404, *CODE_OF_STATUS[404])
        return None

    def _may_read_metrics(self) -> bool:
        networks = self._metrics_networks
        return networks is None or within(current_request.get().client, networks)

    def _options(self, scope: Scope) -> Response:
        allowed = self._access.allowed(get_route_path(scope))
        if not allowed:
            return problem(404, *CODE_OF_STATUS[404])
        return Response(status_code=204, headers={"Allow": allowed})


def hosts_of(settings: Settings) -> frozenset[str]:
    """Lower-cased, without ports; empty: any."""
    named: Sequence[str | None] = settings.allowed_hosts
    if not named and settings.env == "production":
        named = [urlsplit(settings.public_url).hostname]
    return frozenset(name.lower() for name in named if name)


def host_of(scope: Scope) -> str:
    """The one name that was asked for; none when there are several or it cannot be read."""
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) != 1:
        return ""
    try:
        return urlsplit(f"//{hosts[0].decode('latin-1')}").hostname or ""
    except ValueError:
        return ""


def _metrics_networks(settings: Settings) -> Sequence[Network] | None:
    """None: everybody may read them."""
    if settings.metrics_networks or settings.env == "production":
        return settings.metrics_networks
    return None


def _headers_alone(send: Send) -> Send:
    async def answered(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return answered
