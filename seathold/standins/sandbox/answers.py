"""How the sandbox answers: JSON, and ``{"error": {"code", "message"}}`` for every refusal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route

MAX_BODY_BYTES = 64 * 1024

Handler = Callable[[Request, bytes], Response]
Endpoint = Callable[[Request], Awaitable[Response]]
Body = TypeVar("Body", bound=BaseModel)


class Refused(Exception):
    """A request that is not carried out; nothing has changed."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def json_answer(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


def refusal(error: Refused) -> Response:
    return json_answer({"error": {"code": error.code, "message": error.message}}, error.status)


def parse(shape: type[Body], body: bytes) -> Body:
    """The body as ``shape``; an empty body counts as ``{}``.

    Raises:
        Refused: 400 ``invalid``, naming the first field that is wrong.
    """
    try:
        return shape.model_validate_json(body or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "body"
        raise Refused(400, "invalid", f"{field}: {first['msg']}") from error


async def read_body(request: Request) -> bytes:
    """The whole body.

    Raises:
        Refused: 413 ``too_large``.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise Refused(413, "too_large", f"a body has at most {MAX_BODY_BYTES} bytes")
    return bytes(body)


def endpoint(handler: Handler) -> Endpoint:
    """``handler`` as a Starlette endpoint that turns refusals into answers."""

    async def answer(request: Request) -> Response:
        try:
            return handler(request, await read_body(request))
        except Refused as error:
            return refusal(error)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is left to read it

    return answer


async def http_error(request: Request, error: Exception) -> Response:
    """Unknown paths and methods, in the same shape as every refusal."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid")
    answer = refusal(Refused(error.status_code, code, error.detail))
    answer.headers.update(error.headers or {})
    if error.status_code == 405:
        # Starlette tells of the first route of the path alone.
        answer.headers["Allow"] = ", ".join(sorted(_methods(request)))
    return answer


def _methods(request: Request) -> set[str]:
    """Those that the path answers to, by all of its routes."""
    routes = (route for route in request.app.routes if isinstance(route, Route))
    return {
        method
        for route in routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
