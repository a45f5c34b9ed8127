"""The second factor: enrolled, asked for, used once a step; staff have no power without it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pyotp
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from api.middleware.guard import admitted
from api.policy import own, staff
from domain.errors import Forbidden
from domain.user import Role
from infra.keys import KeyRing
from infra.settings import Settings
from infra.tokens import Principal
from infra.totp import STEP_SECONDS, TotpCodes
from tests.helpers.accounts import PASSWORD, bearer, open_account
from tests.helpers.mailed import letters_to, mailed_token
from tests.helpers.problems import assert_problem

Client = httpx2.AsyncClient
Json = dict[str, Any]
KEPT = (
    text("SELECT * FROM second_factors WHERE user_id = :id"),
    text("SELECT * FROM recovery_codes WHERE user_id = :id"),
)


class Clock:
    """Where the codes' steps are moved by hand; starts today, in the middle of a step."""

    def __init__(self) -> None:
        self.now = (time.time() // STEP_SECONDS + 0.5) * STEP_SECONDS

    def __call__(self) -> float:
        return self.now

    def step(self, count: int = 1) -> None:
        self.now += count * STEP_SECONDS


@pytest.fixture
def clock(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(app.state.parts.factors._codes, "_clock", clock)
    return clock


async def post(client: Client, session: Json, path: str, **body: str) -> httpx2.Response:
    return await client.post(f"/api/me/totp{path}", json=body, headers=bearer(session))


async def log_in(client: Client, session: Json, **body: str) -> httpx2.Response:
    body = {"email": session["user"]["email"], "password": PASSWORD, **body}
    return await client.post("/api/auth/login", json=body)


async def enrolled(client: Client, session: Json, clock: Clock) -> tuple[pyotp.TOTP, list[str]]:
    """The app, and the recovery codes."""
    begun = await post(client, session, "", password=PASSWORD)
    assert begun.status_code == 201, begun.text
    app = pyotp.TOTP(begun.json()["secret"])
    confirmed = await post(client, session, "/confirm", code=app.at(int(clock())))
    assert confirmed.status_code == 200, confirmed.text
    clock.step()
    return app, confirmed.json()["recovery_codes"]


async def test_enrolling_shows_the_secret_once_and_counts_when_confirmed(
    client: Client, engine: AsyncEngine, clock: Clock
) -> None:
    session = await open_account(client)
    other = (await log_in(client, session)).json()
    begun = (await post(client, session, "", password=PASSWORD)).json()
    parsed = pyotp.parse_uri(begun["uri"])
    assert parsed.secret == begun["secret"]
    assert (parsed.issuer, parsed.name) == ("Seathold", session["user"]["email"])
    assert (await log_in(client, session)).status_code == 200, "not confirmed: not asked for"

    wrong = await post(client, session, "/confirm", code="000000")
    assert_problem(wrong, 403, "wrong_code")
    app = pyotp.TOTP(begun["secret"])
    confirmed = await post(client, session, "/confirm", code=app.at(int(clock())))
    codes = confirmed.json()["recovery_codes"]
    assert len(set(codes)) == 10

    assert (await client.get("/api/me", headers=bearer(other))).status_code == 401
    me = (await client.get("/api/me", headers=bearer(session))).json()
    assert me["second_factor"] is True
    for path, body in (("", {"password": PASSWORD}), ("/confirm", {"code": "000000"})):
        answer = await post(client, session, path, **body)
        assert_problem(answer, 409, "second_factor_on")
    assert (await letters_to(engine, session["user"]["id"]))[1:] == ["second_factor_added"]
    kept = ""
    async with engine.connect() as connection:
        for query in KEPT:
            found = await connection.execute(query, {"id": UUID(session["user"]["id"])})
            kept += str(found.all())
    for secret in (begun["secret"], *codes, *(code.replace("-", "") for code in codes)):
        assert secret not in kept


async def test_it_needs_the_password(client: Client) -> None:
    session = await open_account(client)
    assert_problem(await post(client, session, "", password="not it"), 403, "wrong_password")
    answer = await post(client, session, "/confirm", code="123456")
    assert_problem(answer, 409, "invalid_state")


async def test_logging_in_asks_for_a_code_only_who_knows_the_password(
    client: Client, clock: Clock
) -> None:
    session = await open_account(client)
    app, _ = await enrolled(client, session, clock)
    answer = await log_in(client, session, password="not the password")
    assert_problem(answer, 401, "invalid_credentials")
    assert_problem(await log_in(client, session), 401, "second_factor_required")
    assert_problem(await log_in(client, session, code="000000"), 401, "wrong_code")
    opened = await log_in(client, session, code=app.at(int(clock())))
    assert opened.status_code == 200
    listed = await client.get("/api/me/sessions", headers=bearer(opened.json()))
    assert [one["second_factor"] for one in listed.json()["items"]] == [True, True]


async def test_a_code_works_once_and_so_do_those_before_it(client: Client, clock: Clock) -> None:
    session = await open_account(client)
    app, _ = await enrolled(client, session, clock)
    code = app.at(int(clock()))
    answers = await asyncio.gather(*(log_in(client, session, code=code) for _ in range(4)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 401: 3}
    earlier = app.at(int(clock()) - STEP_SECONDS)
    assert_problem(await log_in(client, session, code=earlier), 401, "wrong_code")
    clock.step()
    assert (await log_in(client, session, code=app.at(int(clock())))).status_code == 200


async def test_only_the_code_of_now_counts(client: Client, clock: Clock) -> None:
    session = await open_account(client)
    app, _ = await enrolled(client, session, clock)
    clock.step(5)
    for away in (-1, 1):
        code = app.at(int(clock()) + away * STEP_SECONDS)
        assert_problem(await log_in(client, session, code=code), 401, "wrong_code")
    assert (await log_in(client, session, code=app.at(int(clock())))).status_code == 200


async def test_a_recovery_code_works_once_however_it_is_typed(client: Client, clock: Clock) -> None:
    session, stranger = await open_account(client), await open_account(client)
    _, codes = await enrolled(client, session, clock)
    _, others = await enrolled(client, stranger, clock)
    typed = codes[0].replace("-", " ").upper()
    assert (await log_in(client, session, code=typed)).status_code == 200
    for code in (codes[0], others[0], "x" * 24):
        assert_problem(await log_in(client, session, code=code), 401, "wrong_code")
    assert (await log_in(client, session, code=codes[1])).status_code == 200


async def test_a_reset_does_not_pass_by_the_second_factor(
    client: Client, engine: AsyncEngine, settings: Settings, clock: Clock
) -> None:
    session = await open_account(client)
    app, _ = await enrolled(client, session, clock)
    await client.post("/api/auth/password/forgot", json={"email": session["user"]["email"]})
    token = await mailed_token(engine, settings, session["user"]["id"], "reset_password")
    new = "another one of four words"
    reset = {"token": token, "password": new}
    answer = await client.post("/api/auth/password/reset", json=reset)
    assert (answer.status_code, answer.content) == (204, b""), "nobody is logged in by it"
    assert_problem(await log_in(client, session, password=new), 401, "second_factor_required")
    code = app.at(int(clock()))
    assert (await log_in(client, session, password=new, code=code)).status_code == 200


async def test_removing_it_needs_password_and_code(
    client: Client, engine: AsyncEngine, clock: Clock
) -> None:
    session = await open_account(client)
    app, codes = await enrolled(client, session, clock)
    answer = await post(client, session, "/remove", password="not it", code=codes[0])
    assert_problem(answer, 403, "wrong_password")
    answer = await post(client, session, "/remove", password=PASSWORD, code="000000")
    assert_problem(answer, 403, "wrong_code")
    code = app.at(int(clock()))
    answer = await post(client, session, "/remove", password=PASSWORD, code=code)
    assert answer.status_code == 204
    assert (await log_in(client, session)).status_code == 200
    letters = await letters_to(engine, session["user"]["id"])
    assert letters[1:] == ["second_factor_added", "second_factor_removed"]


async def test_a_session_is_strong_from_its_next_refresh_on(
    app: FastAPI, client: Client, clock: Clock
) -> None:
    session = await open_account(client)
    signer = app.state.parts.signer
    assert not signer.verify(session["access_token"]).second_factor
    await enrolled(client, session, clock)
    answer = await client.post(
        "/api/auth/refresh", json={"refresh_token": session["refresh_token"]}
    )
    assert signer.verify(answer.json()["access_token"]).second_factor


def test_without_it_staff_have_no_more_power_than_a_buyer() -> None:
    weak = Principal(uuid4(), Role.OWNER, uuid4())
    strong = Principal(uuid4(), Role.OWNER, uuid4(), second_factor=True)
    rule = staff(Role.OWNER)
    assert admitted(rule, weak) is weak, "the control: where it is not needed"
    assert admitted(rule, strong, second_factor=True) is strong
    with pytest.raises(Forbidden) as refused:
        admitted(rule, weak, second_factor=True)
    assert refused.value.code == "second_factor_required"
    anybodys = own(Role.OWNER)
    assert admitted(anybodys, strong, second_factor=True).sees_all
    assert not admitted(anybodys, weak, second_factor=True).sees_all


def test_development_does_not_require_it_unless_told() -> None:
    assert not Settings.model_validate({}).staff_needs_second_factor
    assert Settings.model_validate({"staff_totp": "required"}).staff_needs_second_factor


def test_a_secret_opens_for_its_owner_alone_and_after_a_rotation() -> None:
    user = uuid4()
    old = TotpCodes(KeyRing("old"))
    sealed = old.seal("SECRET", user)
    assert b"SECRET" not in sealed
    assert TotpCodes(KeyRing("new", ["old"])).unseal(sealed, user) == "SECRET"
    for codes, owner in ((old, uuid4()), (TotpCodes(KeyRing("new")), user)):
        with pytest.raises(ValueError, match="sealed"):
            codes.unseal(sealed, owner)
