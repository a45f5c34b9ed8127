"""Whatever a client sends, the answer is a problem document and never a 500."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, MutableMapping
from typing import Any
from uuid import UUID

import httpx2
import psycopg
import pytest
import structlog
from fastapi import FastAPI
from pydantic import SecretStr
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs
from temporalio.service import RPCError, RPCStatusCode

from api.errors import STATUS_OF_CLASS, answer_to
from api.middleware.body import MAX_DEPTH, BodyRules
from api.queries.not_yet import NOT_YET
from domain import errors
from infra.postgres.database import Database
from infra.settings import Settings
from tests.helpers.accounts import RegisterUser, new_email, replaced_parts
from tests.helpers.problems import assert_problem

Client = httpx2.AsyncClient
LOGIN = "/api/auth/login"
MIB = 1024 * 1024
JSON = {"Content-Type": "application/json"}


def login_body(**changes: object) -> bytes:
    return json.dumps({"email": new_email(), "password": "x", **changes}).encode()


async def chunks_of(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 1000):
        yield body[start : start + 1000]


async def test_an_unknown_address_is_not_found(client: Client) -> None:
    for path in ("/api", "/api/nothing", "/api/me/", "/api/%00", "/api/%ED%A0%80"):
        assert_problem(await client.get(path), 404, "not_found")


async def test_a_method_the_address_does_not_know_is_said_so(client: Client) -> None:
    answer = await client.put("/api/auth/login", content=b"{}", headers=JSON)
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST, OPTIONS"


@pytest.mark.parametrize(
    "path",
    ["/api/booking/x", "/api/booking/user/x", "/api/booking/%00", "/api/booking/x/tickets.pdf"],
)
async def test_a_malformed_id_names_nothing(
    client: Client, register_user: RegisterUser, path: str
) -> None:
    _, headers = await register_user()
    assert_problem(await client.get(path, headers=headers), 404, "not_found")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{}x",
        b"\xff\xfe{}",
        b'{"email": "\xff"}',
        b'{"email": "\xed\xa0\x80", "password": "x"}',
        '{"email": "a"}'.encode("utf-16"),
        '{"email": "a"}'.encode("utf-32"),
        b"[" * 30_000,
        b'{"email": ' + b"9" * 10_000 + b"}",
        b'{"email": NaN, "password": Infinity}',
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"",
    ],
    ids=lambda body: repr(body[:20]),
)
async def test_a_body_that_is_no_such_json_is_invalid(client: Client, body: bytes) -> None:
    assert_problem(await client.post(LOGIN, content=body, headers=JSON), 422, "invalid")


@pytest.mark.parametrize(
    "body",
    [
        '{"email": "a", "password": "x", "email": "b"}',
        '{"email": "a", "password": "x", "\\u0065mail": "a"}',
        '\ufeff{"email": "a", "password": "x", "email": "b"}',
        '{"password": {"a": [{"email": 1, "email": 1}]}, "email": "a"}',
    ],
)
async def test_a_name_that_comes_twice_is_invalid(client: Client, body: str) -> None:
    """Who looks at a body before us may have taken the other one."""
    answer = await client.post(LOGIN, content=body.encode(), headers=JSON)
    found = assert_problem(answer, 422, "invalid")
    assert found["detail"] == "The body has the name 'email' twice in one object."


@pytest.mark.parametrize(
    ("body", "flaw"),
    [
        (b'{"email": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", "in one another"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "in one another"),
        (b"[" * MIB + b"]" * MIB, "in one another"),
        (b"[" * 7 * MIB, "in one another"),
        (b"[1" + b",1" * 3 * MIB + b"]", "values"),
    ],
    ids=["one more than may be", "objects", "lists", "without an end", "wide"],
)
async def test_a_body_is_neither_deep_nor_wide_however_large_it_may_be(
    client: Client, owner: dict[str, str], body: bytes, flaw: str
) -> None:
    answer = await client.post("/api/admin/staff", content=body, headers={**owner, **JSON})
    found = assert_problem(answer, 422, "invalid")
    assert flaw in found["detail"]


async def test_a_body_may_have_lists_in_lists_and_brackets_in_texts(client: Client) -> None:
    """The control: what is refused here is refused for another reason."""
    for email in (json.dumps("[" * 300), "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)):
        body = f'{{"email": {email}, "password": "x"}}'
        answer = await client.post(LOGIN, content=body.encode(), headers=JSON)
        assert answer.status_code in (401, 422)
        assert "in one another" not in answer.json()["detail"]


@pytest.mark.parametrize(
    "text",
    ['"a\\u0000b"', '"\\ud800"', '"\\uD83d x"', '"\\udc00\\ud83d"', '"\\\\\\u0000"', '"a\x00b"'],
)
async def test_a_text_that_cannot_be_stored_is_invalid(client: Client, text: str) -> None:
    for body in (
        f'{{"email": {text}, "password": "x"}}',
        f'{{"email": "a", "password": "x", {text}: 1}}',
        f'{{"email": "a", "password": {{"deep": [{text}]}}}}',
    ):
        answer = await client.post(LOGIN, content=body.encode(), headers=JSON)
        found = assert_problem(answer, 422, "invalid")
        assert "NUL" in found["detail"] or "surrogate" in found["detail"]


async def test_a_backslash_before_u0000_and_a_whole_character_are_fine(client: Client) -> None:
    for text in ('"a\\\\u0000b"', '"\\ud83d\\ude00"', '"\\\\ud800"'):
        body = f'{{"email": {text}, "password": "x"}}'
        answer = await client.post(LOGIN, content=body.encode(), headers=JSON)
        assert_problem(answer, 401, "invalid_credentials")


async def test_unknown_fields_are_invalid_and_named(client: Client) -> None:
    answer = await client.post(LOGIN, content=login_body(role="admin", debug=1), headers=JSON)
    found = assert_problem(answer, 422, "invalid")
    assert [(one["in"], one["field"]) for one in found["errors"]] == [
        ("body", "role"),
        ("body", "debug"),
    ]


async def test_many_mistakes_are_not_all_listed(client: Client) -> None:
    body = login_body(**{f"field{number}": 1 for number in range(1000)})
    found = assert_problem(await client.post(LOGIN, content=body, headers=JSON), 422, "invalid")
    assert len(found["errors"]) == 20


async def test_a_nul_in_the_query_is_invalid(client: Client) -> None:
    assert_problem(await client.get("/api/movies?q=a%00b"), 422, "invalid")


@pytest.mark.parametrize("in_chunks", [False, True])
async def test_a_body_over_its_limit_is_too_large(client: Client, in_chunks: bool) -> None:
    for path, limit in ((LOGIN, 64 * 1024), ("/api/webhooks/sandbox", 256 * 1024)):
        body = b" " * (limit + 1)
        content = chunks_of(body) if in_chunks else body
        answer = await client.post(path, content=content, headers=JSON)
        assert ("content-length" in answer.request.headers) is not in_chunks
        assert_problem(answer, 413, "too_large")
        assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("in_chunks", [False, True])
async def test_a_body_at_its_limit_is_read(client: Client, in_chunks: bool) -> None:
    body = login_body()
    body += b" " * (64 * 1024 - len(body))
    content = chunks_of(body) if in_chunks else body
    answer = await client.post(LOGIN, content=content, headers=JSON)
    assert_problem(answer, 401, "invalid_credentials")
    hook = b" " * (256 * 1024)
    content = chunks_of(hook) if in_chunks else hook
    assert (await client.post("/api/webhooks/sandbox", content=content)).status_code == 400


@pytest.mark.parametrize("length", [b"x", b"-5", b"9" * 5000, b"0" * 40 + b"70000"])
async def test_a_length_that_is_a_lie_does_not_lift_the_limit(length: bytes) -> None:
    async def unreached(*_: object) -> None:
        raise AssertionError("the body was let through")

    sent = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b" " * 70_000, "more_body": True}

    headers = [(b"content-length", length), (b"content-type", b"application/json")]
    scope = {"type": "http", "path": LOGIN, "query_string": b"", "headers": headers}
    await BodyRules(unreached)(scope, receive, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 413


@pytest.mark.parametrize("length", [b"40", None])
async def test_a_body_whose_sender_has_gone_reaches_no_route(length: bytes | None) -> None:
    """What came of it may look whole."""
    left: list[MutableMapping[str, Any]] = [
        {"type": "http.request", "body": b'{"email": "a", "password": "x"}', "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def unreached(*_: object) -> None:
        raise AssertionError("half a body was let through, or answered")

    async def receive() -> MutableMapping[str, Any]:
        return left.pop(0)

    sized = (b"transfer-encoding", b"chunked") if length is None else (b"content-length", length)
    headers = [sized, (b"content-type", b"application/json")]
    scope = {"type": "http", "path": LOGIN, "query_string": b"", "headers": headers}
    await BodyRules(unreached)(scope, receive, unreached)
    assert not left


@pytest.mark.parametrize(
    "media_type",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "json"],
)
async def test_a_body_that_is_not_named_json_is_refused(
    client: Client, media_type: str | None
) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    answer = await client.post(LOGIN, content=login_body(), headers=headers)
    assert_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "media_type", ["APPLICATION/JSON", "application/json; charset=utf-8", "application/json ;x=y"]
)
async def test_json_may_be_named_in_any_case_and_with_parameters(
    client: Client, media_type: str
) -> None:
    headers = {"Content-Type": media_type}
    answer = await client.post(LOGIN, content=login_body(), headers=headers)
    assert_problem(answer, 401, "invalid_credentials")


@pytest.mark.parametrize("sent", ["a", "A-z_0.9", "x" * 128])
async def test_a_request_id_is_taken_over(client: Client, sent: str) -> None:
    for path in ("/healthz", "/api/me", "/nothing"):
        answer = await client.get(path, headers={"X-Request-Id": sent})
        assert answer.headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", ["", " ", "a b", "ü", "x" * 129, "a\\n", "<script>"])
async def test_a_malformed_request_id_is_replaced(client: Client, sent: str) -> None:
    answer = await client.get("/healthz", headers={b"X-Request-Id": sent.encode("latin-1")})
    UUID(answer.headers["x-request-id"])


async def test_every_answer_is_logged_under_its_request_id(client: Client) -> None:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        await client.get("/api/booking/x?q=secret", headers={"X-Request-Id": "find-me"})
        await client.get("/nothing/here")
    known, unknown = [line for line in logs if line["event"] == "request"]
    assert known["request_id"] == "find-me"
    assert (known["route"], known["status"]) == ("/api/booking/{booking_id}", 401)
    assert known["ms"] >= 0
    assert (unknown["route"], unknown["status"]) == ("unmatched", 404)
    assert "secret" not in str(logs)


async def test_probes_are_counted_and_not_logged(client: Client) -> None:
    with capture_logs() as logs:
        for path in ("/healthz", "/readyz", "/metrics"):
            await client.get(path)
    assert [line for line in logs if line["event"] == "request"] == []
    assert 'route="/healthz"' in (await client.get("/metrics")).text


async def test_answers_are_not_sniffed_and_not_kept(client: Client) -> None:
    answer = await client.get("/api/me")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path, _ in NOT_YET])
async def test_what_is_promised_and_not_built_says_so(
    client: Client, owner: dict[str, str], method: str, path: str
) -> None:
    assert_problem(await client.request(method, path, headers=owner), 501, "not_yet")


async def test_administration_is_not_built_yet(client: Client, owner: dict[str, str]) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        answer = await client.request(method, "/api/admin/shows/1", headers=owner)
        assert_problem(answer, 501, "not_yet")


async def test_every_class_of_refusal_has_its_status() -> None:
    classes = errors.SeatholdError.__subclasses__()
    assert set(classes) == set(STATUS_OF_CLASS)
    statuses = {answer_to(kind("why")).status_code for kind in classes}
    assert statuses == {401, 402, 403, 404, 409, 410, 422, 503}


async def test_the_data_of_a_refusal_are_members_that_displace_none(client: Client) -> None:
    refused = errors.Conflict("taken", code="seats_unavailable", seats=["C12"], status=200)
    found = json.loads(bytes(answer_to(refused).body))
    assert found["seats"] == ["C12"]
    assert found["status"] == 409


AWAY = [
    psycopg.OperationalError("gone"),
    psycopg.errors.LockNotAvailable("too late"),
    RedisConnectionError("gone"),
    RPCError("gone", RPCStatusCode.UNAVAILABLE, b""),
    errors.Unavailable("The provider is away."),
]
OURS_TO_MEND = [
    psycopg.IntegrityError("doubled"),
    psycopg.errors.UniqueViolation("doubled"),
    RPCError("bad", RPCStatusCode.INVALID_ARGUMENT, b""),
    KeyError("canary"),
    RuntimeError("canary"),
]


@pytest.fixture
def breaking(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Put an exception in, and logging in raises it."""
    raised: list[Exception] = []

    async def login(**_: object) -> None:
        raise raised[-1]

    monkeypatch.setattr(app.state.parts.accounts, "login", login)
    return raised


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
async def test_a_dependency_that_is_away_is_unavailable(
    client: Client, breaking: list[Exception], error: Exception
) -> None:
    breaking.append(error)
    with capture_logs() as logs:
        answer = await client.post(LOGIN, content=login_body(), headers=JSON)
    assert_problem(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert "canary" not in str(logs)


@pytest.mark.parametrize("error", OURS_TO_MEND, ids=lambda error: type(error).__name__)
async def test_our_own_mistake_is_logged_and_says_nothing_to_the_client(
    client: Client, breaking: list[Exception], error: Exception
) -> None:
    breaking.append(error)
    with capture_logs() as logs:
        answer = await client.post(LOGIN, content=login_body(), headers=JSON)
    assert_problem(answer, 500, "internal")
    assert "canary" not in answer.text
    [line] = [line for line in logs if line["log_level"] == "error"]
    assert line["exc_info"] is error


async def test_a_database_where_nothing_listens_is_unavailable(
    app: FastAPI, client: Client, register_user: RegisterUser
) -> None:
    _, headers = await register_user()
    database = Database(Settings(database_url=SecretStr("postgresql://x:x@127.0.0.1:1/x")))
    with replaced_parts(app, database=database):
        answer = await client.get("/api/me", headers=headers)
    assert_problem(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    await database.close()
