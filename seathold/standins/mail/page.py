"""The pages to read messages on; a mail is shown as its reader would see it, and can do nothing."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from seathold.standins.mail.store import Store
from seathold.standins.sandbox.answers import endpoint

SHOWN = 200
# A mail may hold anything: no script, no form, nothing fetched, and an origin of its own.
MAIL_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Pages:
    def __init__(self, store: Store) -> None:
        self._store = store

    def inbox(self, request: Request, _: bytes) -> Response:
        """The newest messages, on ``?to=`` only those to one address or number."""
        to = request.query_params.get("to") or None
        return _page("inbox.html", messages=self._store.newest(SHOWN, to), to=to, limit=SHOWN)

    def message(self, request: Request, _: bytes) -> Response:
        return _page("message.html", message=self._find(request))

    def mail(self, request: Request, _: bytes) -> Response:
        """The HTML of a mail, alone, for the frame it is shown in."""
        headers = {"Content-Security-Policy": MAIL_POLICY, "X-Content-Type-Options": "nosniff"}
        return HTMLResponse(self._find(request)["html"], headers=headers)

    def _find(self, request: Request) -> dict[str, Any]:
        message = self._store.find(request.path_params["id"])
        if message is None:
            raise HTTPException(404, "no such message")
        return message


def _page(name: str, **values: Any) -> Response:
    nonce = secrets.token_urlsafe(16)
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; frame-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(TEMPLATES.get_template(name).render(nonce=nonce, **values), 200, headers)


def routes(store: Store) -> list[Route]:
    pages = Pages(store)
    return [
        Route("/", endpoint(pages.inbox), methods=["GET"]),
        Route("/messages/{id:int}", endpoint(pages.message), methods=["GET"]),
        Route("/messages/{id:int}/html", endpoint(pages.mail), methods=["GET"]),
    ]
