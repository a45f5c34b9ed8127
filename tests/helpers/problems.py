"""How every error of the API must look."""

from __future__ import annotations

from typing import Any

import httpx2


def assert_problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document, after checking what holds for all of them."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["code"] == code, found
    assert found["status"] == status
    assert found["type"].endswith(code)
    assert found["title"]
    assert found["detail"]
    assert found["instance"] == answer.request.url.path
    assert found["request_id"] == answer.headers["x-request-id"]
    assert isinstance(found["errors"], list)
    return found
