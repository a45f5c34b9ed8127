"""The policy and the routes fit line by line, or the API does not start."""

from __future__ import annotations

from collections.abc import Mapping

import httpx2
import pytest
from fastapi import APIRouter, FastAPI
from typer.testing import CliRunner

from api.app import create_app
from api.middleware.guard import Access
from api.policy import POLICY, Rule, Who, public, staff
from domain.user import Role
from infra.settings import Settings
from seathold.cli import app as cli
from tests.helpers.accounts import RegisterUser
from tests.helpers.problems import assert_problem

ONE_MORE = "GET /api/one-more"


def bound(app: FastAPI, policy: Mapping[str, Rule]) -> Access:
    return Access(app.routes, policy)


def without(key: str) -> dict[str, Rule]:
    return {name: rule for name, rule in POLICY.items() if name != key}


@pytest.mark.parametrize("key", ["GET /api/admin/cases", "POST /api/booking/reserve", "GET /docs"])
def test_a_route_without_a_line_does_not_start(app: FastAPI, key: str) -> None:
    bound(app, POLICY)
    with pytest.raises(RuntimeError, match=f"without a line in api/policy.py: {key}$"):
        bound(app, without(key))


def test_a_line_without_a_route_does_not_start(app: FastAPI) -> None:
    with pytest.raises(RuntimeError, match=f"without a route: {ONE_MORE}$"):
        bound(app, {**POLICY, ONE_MORE: public()})


def test_the_application_itself_asks(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    create_app(settings)
    monkeypatch.setattr("api.app.POLICY", without("POST /api/booking/reserve"))
    with pytest.raises(RuntimeError, match="POST /api/booking/reserve"):
        create_app(settings)


@pytest.mark.parametrize("path", ["/api/show/{show_id}", "/api/show/{show_id}/availability/stream"])
def test_what_is_sent_before_the_guard_is_asked_must_be_public(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr("api.app.POLICY", {**POLICY, f"GET {path}": staff(Role.OWNER)})
    with pytest.raises(RuntimeError, match="is sent to everybody"):
        create_app(settings)


async def read() -> dict[str, str]:
    return {"is": "here"}


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("/{word}", "/fixed", "GET /x/fixed is hidden"),
        ("/{word}", "/{other}", "GET /x/{other} is hidden"),
        ("/{rest:path}", "/y/fixed", "GET /x/y/fixed is hidden"),
    ],
)
def test_a_route_that_another_one_hides_does_not_start(first: str, second: str, told: str) -> None:
    router, app = APIRouter(prefix="/x"), FastAPI(openapi_url=None)
    for path in (first, second):
        router.add_api_route(path, read)
    app.include_router(router)
    policy = {f"GET /x{path}": public() for path in (first, second)}
    with pytest.raises(RuntimeError, match=told):
        Access(app.routes, policy)


async def test_a_route_that_came_after_the_start_cannot_be_reached(settings: Settings) -> None:
    app = create_app(settings)
    app.add_api_route("/api/one-more", read)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api.test") as client:
        assert_problem(await client.get("/api/one-more"), 404, "not_found")


async def test_no_body_is_read_of_who_may_not_call(client: httpx2.AsyncClient) -> None:
    too_large = b'"' + b"x" * (9 * 1024 * 1024) + b'"'
    headers = {"Content-Type": "application/json"}
    path = "/api/admin/shows/0b5c8c0e-6f0a-5b1e-9d53-3f6a2f0f2a11/cancel"
    answer = await client.post(path, content=too_large, headers=headers)
    assert_problem(answer, 401, "unauthenticated")


async def test_another_method_is_refused_and_told_which_there_are(
    client: httpx2.AsyncClient, register_user: RegisterUser
) -> None:
    _, headers = await register_user()
    answer = await client.put("/api/me", headers=headers)
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, PATCH, DELETE, HEAD, OPTIONS"


def test_the_policy_is_printed() -> None:
    printed = CliRunner().invoke(cli, ["policy"])
    assert printed.exit_code == 0
    rows = [
        tuple(cell.strip() for cell in line.strip("|\n").split("|"))
        for line in printed.stdout.splitlines()[2:]
    ]
    assert [" ".join(row[:2]) for row in rows] == list(POLICY)
    cases = rows[list(POLICY).index("POST /api/admin/cases/{case_id}/resolve")]
    assert cases[2:] == ("staff", "owner, manager", "")


def test_powers_are_the_least() -> None:
    """An auditor changes nothing, a scanner reads no booking, staff routes name their roles."""
    for key, rule in POLICY.items():
        built = "{rest:path}" not in key
        if built and not key.startswith("GET "):
            assert Role.AUDITOR not in rule.roles, key
        if built and "checkins" not in key:
            assert Role.SCANNER not in rule.roles, key
        assert Role.USER not in rule.roles, key
        assert (rule.who is not Who.STAFF) or rule.roles, key
        of_staff = key.split(" ")[1].startswith(("/api/admin/", "/api/partner/"))
        assert of_staff == (rule.who is Who.STAFF), key
    assert staff(Role.OWNER).scope is None
