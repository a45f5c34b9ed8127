"""Errors to answers, in one table: a code's own status, or else the status of its class."""

from __future__ import annotations

from typing import Any

import psycopg
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from temporalio.service import RPCError, RPCStatusCode

from api.limit_answers import Limited, fields
from api.problems import problem
from api.schemas.common import FORMS
from domain.errors import (
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    PaymentRequired,
    SeatholdError,
    Unauthenticated,
    Unavailable,
)
from services.preclaim import PreclaimsAway
from services.process import ProcessAway, ProcessUnknown

STATUS_OF_CLASS: dict[type[SeatholdError], int] = {
    Invalid: 422,
    NotFound: 404,
    Unauthenticated: 401,
    Forbidden: 403,
    Conflict: 409,
    Gone: 410,
    PaymentRequired: 402,
    Unavailable: 503,
}
STATUS_OF_CODE = {
    "malformed": 400,
    "invalid_idempotency_key": 400,
    "precondition_failed": 412,
    "precondition_required": 428,
    "rate_limited": 429,
}

CODE_OF_STATUS = {
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not know the method."),
    413: ("too_large", "The body is too large."),
    415: ("unsupported_media_type", "Send JSON, named application/json."),
}
# FastAPI says 400 for a body that it cannot read; to us that is one more invalid body.
UNREADABLE_BODY = 400
RETRY_AFTER_SECONDS = 2
MAX_FIELD_ERRORS = 20
MAX_FIELD_CHARACTERS = 200

AWAY_STATUSES = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
    }
)
# What a dependency that is away looks like; each may also be raised for another reason.
MAYBE_AWAY: tuple[type[Exception], ...] = (
    psycopg.Error,
    RedisConnectionError,
    RedisTimeoutError,
    RPCError,
    ProcessAway,
    ProcessUnknown,
    PreclaimsAway,
)

log = structlog.get_logger(__name__)


def install(app: FastAPI) -> None:
    """Make every error that a route raises a problem document.

    What is not foreseen passes on to ``RequestFrame``, which logs it with its trace.
    """

    async def answer(_: Request, error: Exception) -> Response:
        return answer_to(error)

    for kind in (SeatholdError, HTTPException, RequestValidationError, *MAYBE_AWAY):
        app.add_exception_handler(kind, answer)


def answer_to(error: Exception) -> Response:
    """The problem document for ``error``; 500 ``internal`` without details when in doubt."""
    if isinstance(error, SeatholdError):
        return refusal(error)
    if isinstance(error, HTTPException):
        return _of_http(error)
    if isinstance(error, RequestValidationError):
        return problem(
            422, "invalid", "The request is not as this address wants it.", errors=_fields(error)
        )
    if is_away(error):
        # Not the statement's own text: its parameters are people's data.
        log.warning("dependency_away", error=f"{type(error).__name__}: {error}"[:300])
        return refusal(Unavailable("A part of the system is away; try again."))
    log.error("unhandled_error", exc_info=error)
    return problem(500, "internal", "Something went wrong here; it is logged under the request id.")


def refusal(error: SeatholdError) -> Response:
    """The answer to a refusal of ours."""
    status = STATUS_OF_CODE.get(error.code) or _status(type(error))
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, Limited):
        headers |= fields(error.standing)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    data = dict(error.data)
    errors = data.pop("errors", ())
    return problem(status, error.code, error.detail, errors=errors, data=data, headers=headers)


def is_away(error: Exception) -> bool:
    """Whether ``error`` says that a dependency is away or too busy, so that trying again helps."""
    if isinstance(error, RPCError):
        return error.status in AWAY_STATUSES
    if isinstance(error, psycopg.Error):
        # Also what the server itself ends for being late: statements, lock waits, deadlocks.
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return isinstance(error, MAYBE_AWAY)


def _status(kind: type[SeatholdError]) -> int:
    return next(STATUS_OF_CLASS[base] for base in kind.__mro__ if base in STATUS_OF_CLASS)


def _of_http(error: HTTPException) -> Response:
    if error.status_code == UNREADABLE_BODY:
        return problem(422, "invalid", "The body is not JSON.")
    code, detail = CODE_OF_STATUS.get(error.status_code, ("refused", str(error.detail)))
    return problem(error.status_code, code, detail, headers=error.headers)


def _fields(error: RequestValidationError) -> list[dict[str, str]]:
    return [
        {"in": place, "field": field, "message": str(one["msg"]).removeprefix("Value error, ")}
        for one in error.errors()[:MAX_FIELD_ERRORS]
        for place, field in [_place(one)]
    ]


def _place(one: dict[str, Any]) -> tuple[str, str]:
    """Where the field is and its dotted name; empty when it is the body as a whole."""
    place, *names = one["loc"]
    if one["type"] == "json_invalid":
        names = []
    told = (str(name) for name in names if name not in FORMS)
    field = ".".join(told)[:MAX_FIELD_CHARACTERS]
    return str(place), field
