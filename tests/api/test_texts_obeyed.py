"""What is SQL, a template or a path elsewhere is a text here: in each text that the API takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx2
from fastapi import FastAPI, Response
from jinja2 import Template
from sqlalchemy.ext.asyncio import AsyncEngine

from api import openapi
from tests.helpers.accounts import bearer, open_staff

Json = dict[str, Any]
PAYLOADS = (
    "' OR '1'='1",
    "1'; SELECT pg_sleep(9)--",
    "x%' UNION SELECT password_hash FROM users--",
    "\\'; DROP TABLE nobody; --",
    "{{ 98765 * 43211 }}${98765*43211}#{98765*43211}<%= 98765*43211 %>",
    "{% include '/etc/passwd' %}",
    "../../../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
)
# What would be in an answer that obeyed: a sum, a hash, a file.
OBEYED = ("4267734415", "$argon2", "root:x:")
# Ends who asks, or never ends.
LEFT_OUT = {("delete", "/api/me"), ("get", "/api/show/{show_id}/availability/stream")}
MAY_BE = (501, 503)


def resolved(schema: Json, document: Json) -> Json:
    """The schema itself, where it is named by reference or may be null."""
    for one in [schema, *schema.get("anyOf", [])]:
        if "$ref" in one:
            name = str(one["$ref"]).rpartition("/")[2]
            found: Json = document["components"]["schemas"][name]
            return found
    strings = [one for one in schema.get("anyOf", []) if one.get("type") == "string"]
    return strings[0] if strings else schema


def is_text(schema: Json, document: Json) -> bool:
    return resolved(schema, document).get("type") == "string"


def requests_of(document: Json, payload: str) -> Iterator[tuple[str, str, str, Json]]:
    """Method, path, the text that is replaced and the rest, once for each text of the API."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if (method, path) in LEFT_OUT:
                continue
            parameters = operation.get("parameters", [])
            usual = {one["name"]: example_of(one) for one in parameters if one["in"] == "path"}
            for one in (one for one in parameters if is_text(one["schema"], document)):
                name, place = one["name"], one["in"]
                filled = {**usual, name: payload} if place == "path" else usual
                more: Json = {"params": {name: payload}} if place == "query" else {}
                more |= {"headers": {name: payload}} if place == "header" else {}
                yield method, url_of(path, filled), f"{path} {name}", more
            content = operation.get("requestBody", {}).get("content", {})
            body = resolved(content.get("application/json", {}).get("schema", {}), document)
            fields: Json = body.get("properties", {})
            whole = {
                name: part["examples"][0] for name, part in fields.items() if "examples" in part
            }
            for name in (name for name, part in fields.items() if is_text(part, document)):
                sent = {"json": {**whole, name: payload}}
                yield method, url_of(path, usual), f"{path} {name}", sent


def example_of(parameter: Json) -> str:
    found = [parameter.get("example"), *parameter["schema"].get("examples", [])]
    return str(next((one for one in found if one is not None), "x"))


def url_of(path: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    return path


Ask = Callable[..., Awaitable[httpx2.Response]]


async def obeyed(document: Json, ask: Ask) -> tuple[list[tuple[object, ...]], set[str]]:
    """Which answers broke or did as they were told, and every text that was tried."""
    wrong: list[tuple[object, ...]] = []
    tried = set()
    for payload in PAYLOADS:
        for method, url, name, more in requests_of(document, payload):
            answer = await ask(method, url, **more)
            tried.add(f"{method} {name}")
            said = answer.text.replace(payload, "")
            broken = answer.status_code >= 500 and answer.status_code not in MAY_BE
            if broken or any(one in said for one in OBEYED):
                wrong.append((answer.status_code, name, payload, said[:200]))
    return wrong, tried


async def test_no_text_is_obeyed(
    app: FastAPI, client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    bearers = [bearer(await open_staff(client, engine))]

    async def ask(method: str, url: str, **more: Any) -> httpx2.Response:
        other = more.pop("headers", {})
        answer = await client.request(method, url, headers={**bearers[-1], **other}, **more)
        if answer.status_code == 401:
            # Some of these end the session that asks, as they should.
            bearers.append(bearer(await open_staff(client, engine)))
            answer = await client.request(method, url, headers={**bearers[-1], **other}, **more)
        return answer

    wrong, tried = await obeyed(openapi.document(app), ask)
    assert wrong == []
    assert len(tried) > 150, f"the document has only {len(tried)} texts"


async def test_a_text_that_is_obeyed_is_found() -> None:
    """The negative control: one route renders what it is given, another breaks on a quote."""
    careless = FastAPI()

    @careless.get("/greeting")
    async def greeting(name: str) -> str:
        return Template(name).render() if "*" in name else name

    @careless.get("/by/{title}")
    async def by(title: str) -> Response:
        return Response(status_code=500 if "'" in title else 200)

    transport = httpx2.ASGITransport(app=careless)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api.test") as client:
        wrong, _ = await obeyed(careless.openapi(), client.request)
    assert {name for _, name, *_ in wrong} == {"/greeting name", "/by/{title} title"}
