"""Answers held against closed copies of their schemas: a field that no schema names is a leak.

Routes write their answers themselves, and a schema of the document lets other fields pass, as
OpenAPI has it. So what is answered to the tests is compared with what may be.
"""

from __future__ import annotations

import re
from typing import Any

from jsonschema import Draft202012Validator


class Closed:
    """The successful answers of a document, by method, path and status."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._components = closed(document["components"])
        self._validators: dict[str, Draft202012Validator] = {}
        self._routes = [
            (re.compile(re.sub(r"{\w+}", "[^/]+", path)), methods)
            for path, methods in sorted(
                document["paths"].items(), key=lambda one: str(one[0]).count("{")
            )
        ]

    def unnamed(self, method: str, path: str, status: int, answer: Any) -> list[str]:
        """What of ``answer`` its schema does not name or allow; nothing where there is none."""
        for route, methods in self._routes:
            if route.fullmatch(path) and method.lower() in methods:
                schema = _schema(methods[method.lower()]["responses"].get(str(status), {}))
                if schema is None:
                    return []
                key = f"{method} {route.pattern} {status}"
                if key not in self._validators:
                    whole = {**closed(schema), "components": self._components}
                    self._validators[key] = Draft202012Validator(whole)
                found = self._validators[key].iter_errors(answer)
                return [f"{key}: {error.json_path}: {error.message[:300]}" for error in found]
        return []


def closed(schema: Any) -> Any:
    """A copy in which each object that names its fields has no others."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {name: closed(part) for name, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        copy.setdefault("additionalProperties", False)
    return copy


def open_objects(schema: Any, name: str = "") -> list[str]:
    """Where ``schema`` lets an object have any field, of any kind."""
    if isinstance(schema, list):
        return [found for part in schema for found in open_objects(part, name)]
    if not isinstance(schema, dict):
        return []
    here = schema.get("type") == "object" and schema.get("additionalProperties", True) is True
    is_open = here and "properties" not in schema
    parts = [open_objects(part, f"{name}/{key}") for key, part in schema.items()]
    return [name] * is_open + [found for part in parts for found in part]


def _schema(response: dict[str, Any]) -> dict[str, Any] | None:
    found: dict[str, Any] | None = (
        response.get("content", {}).get("application/json", {}).get("schema")
    )
    return found
