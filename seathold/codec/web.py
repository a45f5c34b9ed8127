"""The codec server's routes: what Temporal's UI posts, and the page to log in on."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import structlog
from google.protobuf.json_format import MessageToDict, Parse, ParseError
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Lifespan, Message, Receive, Scope, Send
from temporalio.api.common.v1 import Payloads
from temporalio.converter import PayloadCodec

from infra.codec import SealBroken, SealedByUnknownKey
from seathold.codec.readers import SESSION_SECONDS, Readers, Refused

log = structlog.get_logger("codec")
COOKIE = "seathold_codec"
MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_FORM_BYTES = 8 * 1024
# On every answer: they are read by scripts and by browsers, and guessed about by neither.
SAFE = {"X-Content-Type-Options": "nosniff"}
HSTS = {"Strict-Transport-Security": "max-age=63072000; includeSubDomains"}
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class CodecServer:
    """``ui_origins``: where Temporal's UI is served; no other page may ask with its cookie.

    ``own_origins``: where browsers find this server. A request cannot tell: behind a proxy that
    speaks TLS, every one comes in plain HTTP.
    """

    def __init__(
        self,
        codec: PayloadCodec,
        readers: Readers,
        *,
        ui_origins: list[str],
        own_origins: list[str],
    ) -> None:
        self._codec = codec
        self._readers = readers
        self._ui_origins = ui_origins
        self._own_origins = own_origins
        self._secure = all(origin.startswith("https://") for origin in own_origins)
        # Over HTTPS a browser takes it from this very host alone (ASVS 3.3.3).
        self._cookie = f"__Host-{COOKIE}" if self._secure else COOKIE

    def app(self, lifespan: Lifespan[Starlette] | None = None) -> ASGIApp:
        routes = [
            Route("/", self.page, methods=["GET"]),
            Route("/login", self.log_in, methods=["POST"]),
            Route("/logout", self.log_out, methods=["POST"]),
            Route("/decode", self.decode, methods=["POST", "OPTIONS"]),
            Route("/encode", self.encode, methods=["POST", "OPTIONS"]),
            Route("/healthz", self.healthz, methods=["GET"]),
        ]
        headers = {**SAFE, **HSTS} if self._secure else SAFE
        return _with_headers(Starlette(routes=routes, lifespan=lifespan), headers)

    async def healthz(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def page(self, request: Request) -> Response:
        return self._page(logged_in=await self._is_reader(request))

    async def log_in(self, request: Request) -> Response:
        try:
            self._require_own_page(request)
            form = parse_qs((await _body(request, MAX_FORM_BYTES)).decode(errors="replace"))
            fields = [form.get(name, [""])[0] for name in ("email", "password", "code")]
            key = await self._readers.log_in(*fields)
        except Refused as error:
            return self._page(status=error.status, refusal=error.reason)
        answer = RedirectResponse(".", 303)
        answer.set_cookie(
            self._cookie,
            key,
            max_age=SESSION_SECONDS,
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )
        return answer

    async def log_out(self, request: Request) -> Response:
        try:
            self._require_own_page(request)
        except Refused as error:
            return self._page(status=error.status, refusal=error.reason)
        await self._readers.log_out(request.cookies.get(self._cookie, ""))
        answer = RedirectResponse(".", 303)
        answer.delete_cookie(self._cookie, secure=self._secure, httponly=True, samesite="strict")
        return answer

    async def decode(self, request: Request) -> Response:
        return await self._coded(request, "decode")

    async def encode(self, request: Request) -> Response:
        return await self._coded(request, "encode")

    async def _coded(self, request: Request, way: str) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=self._cors(request))
        try:
            self._require_ui(request)
            user_id = await self._readers.reader(request.cookies.get(self._cookie, ""))
            answer = await self._run(await _body(request, MAX_BODY_BYTES), way)
        except Refused as error:
            return self._refusal(request, error)
        # Who looked, and how much; never at what.
        log.info("payloads", way=way, user_id=user_id, count=len(answer.get("payloads", ())))
        return JSONResponse(answer, headers={**self._cors(request), "Cache-Control": "no-store"})

    async def _run(self, body: bytes, way: str) -> dict[str, Any]:
        try:
            asked = Parse(body, Payloads())
        except (ParseError, UnicodeDecodeError) as error:
            raise Refused("The body is not a list of payloads.", 400) from error
        turn = self._codec.decode if way == "decode" else self._codec.encode
        try:
            return MessageToDict(Payloads(payloads=await turn(asked.payloads)))
        except (SealedByUnknownKey, SealBroken) as error:
            raise Refused(f"A payload cannot be opened: {error}.", 422) from error

    async def _is_reader(self, request: Request) -> bool:
        try:
            await self._readers.reader(request.cookies.get(self._cookie, ""))
        except Refused:
            return False
        return True

    def _require_ui(self, request: Request) -> None:
        """The cookie goes along with whatever a page on this host posts: only the UI's counts."""
        if request.headers.get("origin") not in self._ui_origins:
            raise Refused("Only Temporal's UI may ask.", 403)

    def _require_own_page(self, request: Request) -> None:
        """Each browser of today names the page that a form is on; ``null`` is anybody's frame."""
        if request.headers.get("origin") not in self._own_origins:
            raise Refused(f"Log in and out at {self._own_origins[0]} itself.", 403)

    def _cors(self, request: Request) -> dict[str, str]:
        origin = request.headers.get("origin", "")
        if origin not in self._ui_origins:
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "content-type, x-namespace, authorization",
        }

    def _refusal(self, request: Request, error: Refused) -> Response:
        return JSONResponse(
            {"title": error.reason, "status": error.status},
            error.status,
            headers=self._cors(request),
            media_type="application/problem+json",
        )

    def _page(self, *, status: int = 200, logged_in: bool = False, refusal: str = "") -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; "
            "base-uri 'none'; frame-ancestors 'none'"
        )
        headers = {
            "Content-Security-Policy": policy,
            "Cache-Control": "no-store",
            "Referrer-Policy": "same-origin",
        }
        html = TEMPLATES.get_template("login.html").render(
            nonce=nonce, logged_in=logged_in, refusal=refusal, ui=self._ui_origins[0]
        )
        return HTMLResponse(html, status, headers)


def _with_headers(app: ASGIApp, headers: dict[str, str]) -> ASGIApp:
    async def framed(scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        await app(scope, receive, sent)

    return framed


async def _body(request: Request, limit: int) -> bytes:
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > limit:
            raise Refused("That is too much at once.", 413)
    return bytes(received)
