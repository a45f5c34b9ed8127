"""No answer has a field that its schema does not name; every client of these tests looks."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from api import openapi
from readmodel import users
from tests.helpers.accounts import RegisterUser, client_of
from tests.helpers.closed import Closed, open_objects

# Said to owners and auditors alone, by what each act has to say.
FREE = ["/schemas/AuditEntryOut/properties/details/anyOf"]


def test_of_an_answer_only_an_audit_entry_has_details_of_any_kind(app: FastAPI) -> None:
    assert open_objects({"schemas": openapi.document(app)["components"]["schemas"]}) == FREE


async def test_an_answer_has_what_is_named(
    app: FastAPI, client: httpx2.AsyncClient, register_user: RegisterUser
) -> None:
    _, headers = await register_user()
    me = (await client.get("/api/me", headers=headers)).json()
    listed = (await client.get("/api/me/sessions", headers=headers)).json()
    closed = Closed(openapi.document(app))

    assert closed.unnamed("GET", "/api/me", 200, me) == []
    assert closed.unnamed("GET", "/api/me", 200, {**me, "password_hash": "x"})
    nested = {**listed, "items": [{**listed["items"][0], "refresh_hash": "x"}]}
    assert closed.unnamed("GET", "/api/me/sessions", 200, nested)


async def test_a_field_too_many_fails_whoever_asks(
    app: FastAPI, register_user: RegisterUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: the same answer from a route that says too much."""
    _, headers = await register_user()
    whole = users.read

    async def leaking(*args: Any) -> Any:
        return {**(await whole(*args) or {}), "password_hash": "x"}

    monkeypatch.setattr(users, "read", leaking)
    async with client_of(app) as client:
        with pytest.raises(AssertionError, match="password_hash"):
            await client.get("/api/me", headers=headers)
