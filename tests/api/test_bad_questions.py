"""What nobody should ask of the catalogue, and what is not there."""

from __future__ import annotations

from urllib.parse import quote
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.helpers.accounts import RegisterUser
from tests.helpers.catalogue import add_movie
from tests.helpers.problems import assert_problem

BAD_IDS = ("x", "1", "%00", "00000000-0000-0000-0000-00000000000g", "%F0%9F%8E%AC", "'--")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=99999999999999999999",
        "cursor=x",
        "cursor=%00",
        "cursor=%F0%9F%8E%AC",
        "cursor=bnVsbA==",
        "cursor=WyJhIl0=",
        "cursor=WyJhIiwgImIiXQ==",
        "cursor=WzEsIDJd",
        "cursor=WyJcdTAwMDAiLCAiYiJd",
        "cursor=" + "A" * 2004,
        "date=tomorrow",
        "date=2026-02-30",
        "date=2026-13-01",
        "date=%00",
        "date=1796083200",
        "date=2026-12-01T00:00:00Z",
        "q=%00",
        "city=a%00b",
        "q=" + "x" * 201,
        "genre=" + "x" * 201,
        "city=" + "x" * 201,
    ],
)
async def test_a_bad_question_is_invalid(client: httpx2.AsyncClient, query: str) -> None:
    found = assert_problem(await client.get(f"/api/movies?{query}"), 422, "invalid")
    [error] = found["errors"]
    assert (error["in"], error["field"]) == ("query", query.partition("=")[0])
    assert error["message"]


async def test_what_is_given_twice_or_in_another_place_deceives_nobody(
    client: httpx2.AsyncClient,
) -> None:
    """Of two some servers take the first and some the last; the address stands in for no body."""
    for query in ("limit=1&limit=2", "limit=2&q=x&li%6Dit=1", "limit&limit=1", "limit=1&limit=1"):
        found = assert_problem(await client.get(f"/api/movies?{query}"), 422, "invalid")
        told = [{"in": "query", "field": "limit", "message": "Give it once."}]
        assert found["errors"] == told, query
    assert (await client.get("/api/movies?limit=1&q=limit")).status_code == 200, "the control"
    answer = await client.post("/api/auth/login?email=a@example.test&password=three+words", json={})
    found = assert_problem(answer, 422, "invalid")
    assert {(error["in"], error["field"]) for error in found["errors"]} == {
        ("body", "email"),
        ("body", "password"),
    }


async def test_what_crowds_read_is_asked_once_too(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    path = f"/api/shows/{await add_movie(engine, 'Any')}"
    for _ in range(3):
        answer = await client.get(f"{path}?city=Berlin&city=Bonn")
        assert_problem(answer, 422, "invalid")


async def test_a_cursor_that_is_none_of_ours_is_named(client: httpx2.AsyncClient) -> None:
    for path in ("/api/movies", "/api/theatres"):
        found = assert_problem(await client.get(path, params={"cursor": "e30="}), 422, "invalid")
        message = "It is not one of ours; start again without it."
        assert found["errors"] == [{"in": "query", "field": "cursor", "message": message}]


async def test_every_field_with_a_nul_is_named_up_to_twenty(client: httpx2.AsyncClient) -> None:
    found = assert_problem(await client.get("/api/movies?q=a&city=%00&x%00="), 422, "invalid")
    assert [one["field"] for one in found["errors"]] == ["city", "x\x00"]
    many = "&".join(["q=%00"] * 30)
    found = assert_problem(await client.get(f"/api/movies?{many}"), 422, "invalid")
    assert len(found["errors"]) == 20


@pytest.mark.parametrize("spelling", ["urn:uuid:{}", "{{{}}}", "{}-", "-{}", "{}\n", "{1}"])
async def test_an_id_has_one_spelling(
    client: httpx2.AsyncClient,
    engine: AsyncEngine,
    owner: dict[str, str],
    register_user: RegisterUser,
    spelling: str,
) -> None:
    """Else limits, logs and caches that go by the spelling could be led past what they know."""
    movie_id = await add_movie(engine, "Any")
    written = spelling.format(movie_id, movie_id.replace("-", ""))
    _, headers = await register_user()
    assert_problem(await client.get(f"/api/movies/{quote(written)}"), 404, "not_found")
    body = {"show_id": written, "seats": ["A1"]}
    answer = await client.post("/api/booking/reserve", json=body, headers=headers)
    [error] = assert_problem(answer, 422, "invalid")["errors"]
    assert (error["in"], error["field"]) == ("body", "show_id")
    assert "8-4-4-4-12" in error["message"]
    query = {"movie_id": written}
    answer = await client.get("/api/admin/reports/demand", params=query, headers=owner)
    [error] = assert_problem(answer, 422, "invalid")["errors"]
    assert (error["in"], error["field"]) == ("query", "movie_id")
    user, _ = await register_user()
    key = {"account_id": spelling.format(user["id"], user["id"].replace("-", ""))}
    body = {**key, "name": "Machines", "scopes": ["bookings:read"], "reason": "A test."}
    answer = await client.post("/api/admin/api-keys", json=body, headers=owner)
    [error] = assert_problem(answer, 422, "invalid")["errors"]
    assert (error["in"], error["field"]) == ("body", "account_id")


async def test_upper_case_is_the_same_id(client: httpx2.AsyncClient, engine: AsyncEngine) -> None:
    """As RFC 9562 has it; some platforms write no other."""
    movie_id = str(await add_movie(engine, "Any"))
    answer = await client.get(f"/api/movies/{movie_id.upper()}")
    assert answer.json()["id"] == movie_id


@pytest.mark.parametrize("path", ["/api/movies", "/api/theatres", "/api/shows/{movie}"])
@pytest.mark.parametrize(
    "value", ["%00", "a%00b", "%FF%FE", "%ED%A0%80", "%F0%9F%8E%AC", "%5C", "%27"]
)
async def test_characters_of_every_kind_break_nothing(
    client: httpx2.AsyncClient, engine: AsyncEngine, path: str, value: str
) -> None:
    movie_id = await add_movie(engine, "Any")
    for name in ("q", "genre", "city", "date", "limit", "cursor", "unknown"):
        answer = await client.get(f"{path.format(movie=movie_id)}?{name}={value}")
        assert answer.status_code in (200, 422), (name, answer.text)


@pytest.mark.parametrize(
    "path",
    [
        "/api/movies/{id}",
        "/api/shows/{id}",
        "/api/show/{id}",
        "/api/show/{id}/seatmap",
        "/api/show/{id}/seatmap?v=1",
        "/api/show/{id}/availability",
    ],
)
async def test_what_is_not_there_is_not_found(client: httpx2.AsyncClient, path: str) -> None:
    assert_problem(await client.get(path.format(id=uuid4())), 404, "not_found")
    for bad in BAD_IDS:
        answer = await client.get(path.format(id=bad))
        assert answer.status_code == 404, bad
        assert answer.json()["code"] == "not_found"
