"""The document of the API is reviewed like code: a change of it is a change of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator

from api import openapi

SNAPSHOT = Path(__file__).parents[2] / "docs" / "openapi.json"
REGENERATE = "the API's document changed; if it should: uv run seathold openapi > docs/openapi.json"

Operation = tuple[str, str, dict[str, Any]]


@pytest.fixture(scope="session")
def document(app: FastAPI) -> dict[str, Any]:
    return openapi.document(app)


def operations(document: dict[str, Any]) -> list[Operation]:
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_the_document_is_the_one_that_is_kept(app: FastAPI) -> None:
    assert openapi.render(app) == SNAPSHOT.read_text(encoding="utf-8"), REGENERATE


async def test_the_document_and_its_page_are_served(
    client: httpx2.AsyncClient, document: dict[str, Any]
) -> None:
    served = await client.get("/openapi.json")
    assert served.json() == document
    assert served.json()["openapi"].startswith("3.1.")
    page = await client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")


def test_every_operation_answers_errors_with_problems(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        content = operation["responses"]["default"]["content"]
        assert list(content) == ["application/problem+json"], path
        assert operation["summary"], path


def test_the_list_of_operations_reads_by_itself(document: dict[str, Any]) -> None:
    summaries = [operation["summary"] for _, _, operation in operations(document)]
    assert len(set(summaries)) == len(summaries)
    assert [one for one in summaries if len(one) > 90] == []
    used = {tag for _, _, operation in operations(document) for tag in operation["tags"]}
    assert {tag["name"] for tag in document["tags"]} == used
    assert all(tag["description"] for tag in document["tags"])


def test_each_normal_outcome_of_a_booking_is_an_answer_of_its_own(
    document: dict[str, Any],
) -> None:
    """Else a generated client takes a booking that is pending for a problem."""
    for path, statuses in (
        ("/api/booking/reserve", {"201", "202"}),
        ("/api/booking/confirm", {"200", "202"}),
        ("/api/booking/{booking_id}/checkout", {"200", "201"}),
    ):
        answers = document["paths"][path]["post"]["responses"]
        assert set(answers) == {*statuses, "default"}, path
        for status in statuses:
            [schema] = {
                one["schema"]["$ref"].rsplit("/", 1)[1]
                for one in answers[status]["content"].values()
            }
            assert schema == ("CheckoutOut" if "checkout" in path else "BookingOut")
        if "202" in statuses:
            assert "Retry-After" in answers["202"]["headers"]
    assert "refusal" in document["components"]["schemas"]["BookingOut"]["properties"]


def test_every_command_says_what_its_body_may_be(document: dict[str, Any]) -> None:
    """Else whatever is sent to it is let through unread: ``NoFields`` where that is nothing."""
    unread = [
        path
        for method, path, operation in operations(document)
        if method == "post" and "requestBody" not in operation
        if "501" not in operation["responses"]
    ]
    assert unread == ["/api/webhooks/{provider}"]


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    checked = 0
    for name, schema in schemas.items():
        whole = {**schema, "components": document["components"]}
        for example in schema.get("examples", ()):
            Draft202012Validator(whole).validate(example)
            checked += 1
        for field, part in schema.get("properties", {}).items():
            for example in part.get("examples", ()):
                whole = {**part, "components": document["components"]}
                assert Draft202012Validator(whole).is_valid(example), (name, field)
                checked += 1
    for _, path, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            part = parameter["schema"]
            whole = {**part, "components": document["components"]}
            for example in examples(parameter):
                assert Draft202012Validator(whole).is_valid(example), (path, parameter["name"])
                checked += 1
    assert checked > 60


def examples(parameter: dict[str, Any]) -> list[Any]:
    own = [parameter["example"]] if "example" in parameter else []
    return [*own, *parameter["schema"].get("examples", ())]


def explains_itself(part: dict[str, Any]) -> bool:
    """Whether a reader knows a value without an example of it: one is named, or found elsewhere."""
    if {"examples", "enum", "const", "default", "$ref"} & part.keys():
        return True
    if part.get("type") == "array":
        return explains_itself(part["items"])
    if "anyOf" in part:
        return all(one.get("type") == "null" or explains_itself(one) for one in part["anyOf"])
    return part.get("format") == "uuid"


def test_what_cannot_be_guessed_has_an_example(document: dict[str, Any]) -> None:
    bare = [
        (name, field)
        for name, schema in document["components"]["schemas"].items()
        if "examples" not in schema
        for field, part in schema.get("properties", {}).items()
        if not explains_itself(part)
    ]
    bare += [
        (path, parameter["name"])
        for _, path, operation in operations(document)
        for parameter in operation.get("parameters", ())
        if not examples(parameter) and not explains_itself(parameter["schema"])
    ]
    assert bare == []


def test_what_changes_something_takes_a_key_unless_it_answers_with_credentials(
    document: dict[str, Any],
) -> None:
    takes_key = {
        path
        for method, path, operation in operations(document)
        if method == "post"
        and any(one["name"] == "Idempotency-Key" for one in operation.get("parameters", ()))
    }
    assert "/api/booking/reserve" in takes_key
    assert not any(path.startswith(("/api/auth/", "/api/webhooks/")) for path in takes_key)


def test_what_needs_an_account_says_so(document: dict[str, Any]) -> None:
    open_to_all = {
        (method, path)
        for method, path, operation in operations(document)
        if "security" not in operation
    }
    assert ("get", "/api/me") not in open_to_all
    assert ("post", "/api/booking/reserve") not in open_to_all
    assert ("post", "/api/auth/login") in open_to_all
    schemes = document["components"]["securitySchemes"]
    assert schemes["bearer"]["scheme"] == "bearer"
    assert schemes["api_key"]["name"] == "X-API-Key"
    assert document["paths"]["/api/me"]["get"]["security"] == [{"bearer": []}]
    read = document["paths"]["/api/booking/{booking_id}"]["get"]
    assert read["security"] == [{"bearer": []}, {"api_key": ["bookings:read"]}]
    assert read["x-policy"]["who"] == "its own account"
