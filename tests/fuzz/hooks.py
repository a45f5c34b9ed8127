"""What Schemathesis is told about this API: who it is, ids that exist, what every error is like.

It runs in a process of its own and is given this module by ``SCHEMATHESIS_HOOKS``.
"""

from __future__ import annotations

import atexit
import os
import zlib
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import orjson
import schemathesis
from schemathesis import AuthContext, Case, CheckContext, HookContext, Response

from tests.helpers.closed import Closed

URL, EMAIL, PASSWORD, KNOWN = (
    os.environ[name] for name in ("FUZZ_URL", "FUZZ_EMAIL", "FUZZ_PASSWORD", "FUZZ_KNOWN")
)
# By the name of a parameter or of a field: ids of this stack.
ids: dict[str, list[str]] = orjson.loads(KNOWN)
# After these an account or its session is over, so that each has one of its own.
ENDS = {
    ("DELETE", "/api/me"),
    ("POST", "/api/me/sessions/end"),
    ("POST", "/api/me/password"),
}
# Cases by phase and operation; those that checks make besides are not among them.
counted: dict[str, Counter[str]] = {}
REQUIRED = {"type", "title", "status", "detail", "instance", "code", "errors", "request_id"}
http = httpx2.Client(base_url=URL, timeout=30)
schemas = Closed(http.get("/openapi.json").json())


def fresh_token() -> str:
    """Of an account that nobody else uses."""
    body = {"email": f"{uuid4().hex}@example.test", "password": PASSWORD, "name": "Fuzz"}
    return str(http.post("/api/auth/register", json=body).raise_for_status().json()["access_token"])


# Tokens live for ten minutes.
@schemathesis.auth(refresh_interval=240)
class Bearer:
    """The stack's owner, who may do most."""

    def get(self, case: Case[Any], context: AuthContext) -> str:
        body = {"email": EMAIL, "password": PASSWORD}
        answer = http.post("/api/auth/login", json=body).raise_for_status()
        return str(answer.json()["access_token"])

    def set(self, case: Case[Any], data: str, context: AuthContext) -> None:
        operation = case.operation
        ends = (operation.method.upper(), operation.path) in ENDS
        case.headers["Authorization"] = f"Bearer {fresh_token() if ends else data}"


def real(name: str, value: object) -> object:
    """Half of the ids that are made up are exchanged for one that there is; always the same."""
    known = ids.get(name)
    place = zlib.crc32(repr(value).encode())
    return known[place % len(known)] if known and place & 0x10000 else value


@schemathesis.hook
def map_path_parameters(context: HookContext, path_parameters: Any) -> Any:
    if isinstance(path_parameters, dict):
        return {name: real(name, value) for name, value in path_parameters.items()}
    return path_parameters


@schemathesis.hook
def map_query(context: HookContext, query: Any) -> Any:
    """Nobody pays here, so that a confirmation would wait in vain: at most for a second."""
    if isinstance(query, dict) and str(query.get("wait", "")).isdecimal():
        return {**query, "wait": min(int(query["wait"]), 1)}
    return query


@schemathesis.hook
def map_body(context: HookContext, body: Any) -> Any:
    if isinstance(body, dict):
        return {name: real(name, value) for name, value in body.items()}
    return body


@atexit.register
def tell() -> None:
    Path(os.environ["FUZZ_COUNTED"]).write_bytes(orjson.dumps(counted))


@schemathesis.check
def is_counted(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Checks nothing: it runs once for each case that was sent and answered."""
    assert case.meta is not None
    counted.setdefault(case.meta.phase.name.value, Counter())[case.operation.label] += 1


@schemathesis.check
def nothing_else_is_said(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """A field that no schema names is a leak, though the schema lets it pass."""
    kind = response.headers.get("content-type", [""])[0]
    if response.status_code < 300 and kind == "application/json":
        method, path = case.operation.method.upper(), case.operation.path
        answer = orjson.loads(response.content)
        found = schemas.unnamed(method, path, response.status_code, answer)
        assert not found, found


@schemathesis.check
def errors_are_problems(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Every error is a problem document that tells its own status and request."""
    if response.status_code < 400:
        return
    kind = response.headers.get("content-type", [""])[0]
    assert kind == "application/problem+json", f"{response.status_code} came as {kind!r}"
    found = orjson.loads(response.content)
    assert found.keys() >= REQUIRED, f"the problem lacks {REQUIRED - found.keys()}"
    assert found["status"] == response.status_code
    # A stored answer is the first one's, byte for byte.
    if "idempotent-replayed" not in response.headers:
        assert found["request_id"] == response.headers["x-request-id"][0]
    if response.status_code in (429, 503):
        assert "retry-after" in response.headers, f"{response.status_code} without Retry-After"
