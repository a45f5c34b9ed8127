"""The API to try out, and where mails and the provider's pay page lead.

Each page is whole in itself: it fetches nothing from elsewhere, and no script stands in it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

OURS = Path(__file__).with_name("static")
# Swagger UI as its makers publish it: a package brings it, so that no machine is asked for it.
SWAGGER = Path(str(files("fastapi_swagger") / "resources"))
# A stranger's text in a page runs nothing and reaches nobody.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
# Where mailed links lead, their code behind the "#", which is sent nowhere; and where buyers come
# back to from the pay page. They know nothing of anybody.
PAGES = {
    "/account/verify": OURS / "verify.html",
    "/account/reset": OURS / "reset.html",
    "/account/page.css": OURS / "page.css",
    "/account/page.js": OURS / "page.js",
    "/back": OURS / "back.html",
}
DOCS = {
    "/docs": OURS / "docs.html",
    "/docs/start.js": OURS / "docs.js",
    "/docs/swagger-ui.css": SWAGGER / "swagger-ui.css",
    "/docs/swagger-ui-bundle.js": SWAGGER / "swagger-ui-bundle.js",
}


def pages_router() -> APIRouter:
    """Where mails and the provider's pay page lead."""
    return _router_of(PAGES)


def docs_router() -> APIRouter:
    """The API to try out."""
    router = _router_of(DOCS)
    router.add_api_route("/", to_docs)
    return router


async def to_docs() -> Response:
    """Who opens the bare address in a browser wants to look around."""
    return RedirectResponse("/docs")


def _router_of(files: Mapping[str, Path]) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    for path, file in files.items():
        router.add_api_route(path, _sender(file))
    return router


def _sender(file: Path) -> Callable[[], Awaitable[Response]]:
    content, kind = file.read_bytes(), KINDS[file.suffix]

    async def send() -> Response:
        return Response(content, media_type=kind, headers={"Content-Security-Policy": POLICY})

    return send
