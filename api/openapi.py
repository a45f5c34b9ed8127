"""The OpenAPI document: what FastAPI derives, and what holds for every route."""

from __future__ import annotations

import json
import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.policy import POLICY, Who
from api.problems import MEDIA_TYPE
from api.schemas.common import Problem
from domain.user import Role

TITLE = "Seathold"
VERSION = "1"
DESCRIPTION = """\
Seats are held, paid and confirmed, or given back.

Errors are problem documents (RFC 9457) with a stable `code`; every answer has an `X-Request-Id`.
Money is in minor units, times are UTC. A POST that changes something honours `Idempotency-Key`
for 24 hours, except those that answer with credentials.
"""
# In the order in which somebody new needs them.
TAGS = (
    {"name": "accounts", "description": "Open one, log in, look after it."},
    {"name": "catalogue", "description": "Films, theatres, shows, seats; open to everybody."},
    {"name": "bookings", "description": "Hold seats, pay for them, get tickets, give them back."},
    {"name": "shows", "description": "What the staff do with a show."},
    {"name": "cases", "description": "What a person has to decide about money."},
    {"name": "reports", "description": "What was sold and asked for."},
    {"name": "staff", "description": "Who works here, and the keys of partners."},
    {"name": "audit", "description": "Who with power did what, and why."},
    {"name": "partners", "description": "Where partners hear of their bookings."},
    {"name": "webhooks", "description": "Where payment providers tell their news."},
    {"name": "operations", "description": "For those who run it."},
    {"name": "not yet", "description": "Promised and not built yet: 501."},
)
PROBLEM_REF = "#/components/schemas/Problem"
PROBLEM_ANSWER = {
    "description": "A problem, by its `code`.",
    "content": {MEDIA_TYPE: {"schema": {"$ref": PROBLEM_REF}}},
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Repeat a request safely: the same key and body get the first answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "example": "c0ffee00-7a55-4f5c-9a0e-1f1f6a3f2a10",
}
# Answers with credentials are never stored, and providers have ids of their own.
WITHOUT_KEY = ("/api/auth/", "/api/webhooks/", "/api/admin/api-keys")
SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
# A list of operations shows these; in the code a function's name need not say what it is of.
FIRST_WORDS = re.compile(r"[.;:](?: |$)")
WITHOUT_KEY_AT = (
    "/api/me/totp",
    "/api/me/totp/confirm",
    "/api/partner/endpoints",
    "/api/partner/endpoints/{endpoint_id}/rotate",
)


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document, made once an app."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=TITLE,
            version=VERSION,
            description=DESCRIPTION,
            tags=list(TAGS),
            routes=app.routes,
        )
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        found = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(found.pop("$defs", {}))
        schemas["Problem"] = found
        made["components"]["securitySchemes"] = SECURITY_SCHEMES
        for path, operations in made["paths"].items():
            for method, operation in operations.items():
                _complete(path, method, operation)
        app.openapi_schema = made
    return app.openapi_schema


def render(app: FastAPI) -> str:
    """The document as ``seathold openapi`` prints it and ``docs/openapi.json`` keeps it."""
    return json.dumps(document(app), indent=1, ensure_ascii=False) + "\n"


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    if told := operation.get("description"):
        operation["summary"] = FIRST_WORDS.split(" ".join(told.split()), maxsplit=1)[0]
    answers = operation["responses"]
    answers.pop("422", None)
    answers["default"] = PROBLEM_ANSWER
    if any(one["name"].lower() == "if-none-match" for one in operation.get("parameters", ())):
        answers["304"] = {"description": "What you keep is what you would be sent."}
    if "501" in answers:
        answers["501"] = PROBLEM_ANSWER
    rule = POLICY[f"{method.upper()} {path}"]
    operation["x-policy"] = {
        "who": rule.who,
        "roles": [role for role in Role if role in rule.roles],
    }
    if rule.who is not Who.PUBLIC:
        by_key = [{"api_key": [rule.scope]}] if rule.scope else []
        operation["security"] = [{"bearer": []}, *by_key]
    takes_key = not path.startswith(WITHOUT_KEY) and path not in WITHOUT_KEY_AT
    if method == "post" and "501" not in answers and takes_key:
        operation.setdefault("parameters", []).append(IDEMPOTENCY_KEY)
