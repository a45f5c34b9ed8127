"""Headers of every answer, origins, hosts, methods, and what production keeps to itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.app import create_app
from api.middleware.gate import Gate, hosts_of
from api.middleware.guard import Access
from api.policy import POLICY
from infra.rate_limits import RateLimits
from infra.settings import Settings
from tests.factories import create_hall
from tests.helpers.accounts import replaced_parts
from tests.helpers.edge import client_from
from tests.helpers.problems import assert_problem
from tests.helpers.production import GOOD, TEMPORAL

Client = httpx2.AsyncClient
DOCUMENT = Path(__file__).parents[3] / "docs/openapi.json"
ORIGIN = "https://shop.cinema.org"
HOST = "tickets.cinema.org"
INSIDE, STRANGER = "10.1.2.3", "198.51.100.9"


def strict_settings(**changes: str) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in TEMPORAL.items():
            patch.setenv(name, value)
        return Settings(_env_file=None, **{**GOOD, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def strict(app: FastAPI) -> FastAPI:
    """The app as production has it, on the parts of the one that was started."""
    made = create_app(strict_settings(trusted_proxies="127.0.0.0/8"))
    made.state.parts = app.state.parts
    return made


@pytest.fixture
async def outside(strict: FastAPI, app: FastAPI) -> AsyncIterator[Client]:
    with replaced_parts(strict, limits=RateLimits(app.state.parts.redis)):
        async with client_from(strict, STRANGER, Host=HOST) as client:
            yield client


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/api/movies", 200),
        ("GET", "/api/nothing", 404),
        ("PUT", "/api/auth/login", 405),
        ("POST", "/api/auth/login", 422),
        ("GET", "/api/me", 401),
        ("OPTIONS", "/api/me", 204),
    ],
)
async def test_every_answer_has_the_headers(
    outside: Client, method: str, path: str, status: int
) -> None:
    answer = await outside.request(method, path)
    assert answer.status_code == status
    told = answer.headers
    assert told["x-content-type-options"] == "nosniff"
    policy = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    assert told["content-security-policy"] == policy
    assert told["referrer-policy"] == "no-referrer"
    assert told["cross-origin-resource-policy"] == "same-origin"
    assert told["strict-transport-security"] == "max-age=63072000; includeSubDomains"
    assert "server" not in told
    assert "x-powered-by" not in told
    if path.startswith("/api/") and path != "/api/movies":
        assert told["cache-control"] == "no-store"


async def test_the_answer_to_what_breaks_here_has_them_too(
    strict: FastAPI, outside: Client
) -> None:
    with replaced_parts(strict, limits=None):
        answer = await outside.get("/api/movies")
    assert_problem(answer, 500, "internal")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "NoneType" not in answer.text


class TestOrigins:
    async def preflight(self, client: Client, origin: str) -> httpx2.Response:
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        return await client.options("/api/booking/reserve", headers=headers)

    async def test_a_named_origin_may_ask(self, outside: Client) -> None:
        answer = await self.preflight(outside, ORIGIN)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "access-control-allow-credentials" not in answer.headers
        read = await outside.get("/api/movies", headers={"Origin": ORIGIN})
        assert read.headers["access-control-allow-origin"] == ORIGIN
        refused = await outside.get("/api/me", headers={"Origin": ORIGIN})
        assert refused.headers["access-control-allow-origin"] == ORIGIN

    @pytest.mark.parametrize(
        "origin",
        [
            "null",
            "*",
            "http://shop.cinema.org",
            "https://shop.cinema.org.evil.org",
            "https://evilshop.cinema.org",
            "https://shop.cinema.org:444",
            "https://SHOP.cinema.org",
        ],
    )
    async def test_no_other_may(self, outside: Client, origin: str) -> None:
        answer = await self.preflight(outside, origin)
        assert_problem(answer, 403, "origin_refused")
        assert "access-control-allow-origin" not in answer.headers
        read = await outside.get("/api/movies", headers={"Origin": origin})
        assert "access-control-allow-origin" not in read.headers

    async def test_its_pages_may_send_and_read_whatever_the_document_tells_of(
        self, outside: Client
    ) -> None:
        paths = json.loads(DOCUMENT.read_text("utf-8"))["paths"].values()
        operations = [(method, told) for path in paths for method, told in path.items()]
        asked = {"authorization", "content-type", "last-event-id", "x-request-id"}
        for _, told in operations:
            asked |= {one["name"] for one in told.get("parameters", ()) if one["in"] == "header"}
        for method in sorted({method.upper() for method, _ in operations}):
            headers = {
                "Origin": ORIGIN,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": ", ".join(sorted(asked)),
            }
            answer = await outside.options("/api/booking/reserve", headers=headers)
            assert answer.status_code == 200, f"{method} with {asked}"
            assert answer.headers["access-control-max-age"] == "600"
        read = await outside.get("/api/me", headers={"Origin": ORIGIN})
        assert set(read.headers["access-control-expose-headers"].lower().split(", ")) >= {
            *("etag", "idempotent-replayed", "ratelimit", "ratelimit-policy"),
            *("read-after", "retry-after", "x-request-id"),
        }

    async def test_without_a_list_nobody_may(self, client: Client) -> None:
        answer = await self.preflight(client, ORIGIN)
        assert answer.status_code == 204
        assert "access-control-allow-origin" not in answer.headers


class TestMethods:
    async def test_options_tells_every_method_of_an_address(self, client: Client) -> None:
        answer = await client.options("/api/me")
        allowed = set(answer.headers["allow"].split(", "))
        assert {"GET", "PATCH", "DELETE", "HEAD", "OPTIONS"} <= allowed
        assert_problem(await client.options("/api/nothing"), 404, "not_found")

    @pytest.mark.parametrize("method", ["TRACE", "PUT", "PROPFIND", "smuggle"])
    async def test_a_method_that_nothing_has_is_refused_with_those_it_has(
        self, client: Client, method: str
    ) -> None:
        answer = await client.request(method, "/api/me")
        assert_problem(answer, 405, "method_not_allowed")
        assert "GET" in answer.headers["allow"]

    async def test_head_of_a_stream_ends_with_its_headers(
        self, client: Client, engine: AsyncEngine
    ) -> None:
        hall = await create_hall(engine)
        head = await client.head(f"/api/show/{hall.show_id}/availability/stream")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == "text/event-stream"
        assert (await client.head(f"/api/show/{uuid4()}/availability/stream")).status_code == 404

    async def test_head_answers_where_get_does(self, client: Client) -> None:
        for path in ("/api/movies", "/healthz", "/api/me"):
            head, get = await client.head(path), await client.get(path)
            assert head.status_code == get.status_code
            assert head.content == b""
            assert head.headers["content-length"] == get.headers["content-length"]
        assert (await client.head("/api/auth/login")).status_code == 405

    async def test_a_packed_body_is_not_unpacked(self, client: Client) -> None:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        answer = await client.post("/api/auth/login", content=b"\x1f\x8b\x08", headers=headers)
        assert_problem(answer, 415, "unsupported_media_type")


class TestProduction:
    @pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/redoc", "/docs/start.js"])
    async def test_it_has_no_docs(self, outside: Client, client: Client, path: str) -> None:
        assert_problem(await outside.get(path), 404, "not_found")

    async def test_development_has_them(self, client: Client) -> None:
        assert (await client.get("/docs")).status_code == 200
        assert (await client.get("/")).headers["location"] == "/docs"
        assert (await client.get("/openapi.json")).status_code == 200

    @pytest.mark.parametrize(
        ("address", "forwarded", "status"),
        [
            (INSIDE, None, 200),
            (STRANGER, None, 404),
            (STRANGER, INSIDE, 404),
            ("127.0.0.1", None, 404),
            ("127.0.0.1", INSIDE, 200),
            ("127.0.0.1", f"{INSIDE}, {STRANGER}", 404),
        ],
    )
    async def test_only_the_named_networks_read_the_metrics(
        self, outside: Client, strict: FastAPI, address: str, forwarded: str | None, status: int
    ) -> None:
        headers = {"X-Forwarded-For": forwarded} if forwarded else {}
        async with client_from(strict, address) as client:
            answer = await client.get("/metrics", headers=headers)
        assert answer.status_code == status
        if status == 404:
            assert_problem(answer, 404, "not_found")

    @pytest.mark.parametrize(
        ("changes", "status"),
        [
            ({"metrics_networks": ""}, 404),
            ({"env": "dev", "metrics_networks": ""}, 204),
            ({"env": "dev"}, 404),
        ],
    )
    async def test_where_no_network_is_named_development_alone_tells_them(
        self, strict: FastAPI, changes: dict[str, str], status: int
    ) -> None:
        async def told(scope: Scope, receive: Receive, send: Send) -> None:
            await Response(status_code=204)(scope, receive, send)

        access = Access(strict.routes, POLICY)
        gate = Gate(told, strict_settings(**changes, allowed_hosts="api.test"), access)
        async with client_from(gate, STRANGER) as client:
            assert (await client.get("/metrics")).status_code == status

    @pytest.mark.parametrize(
        ("changes", "names"),
        [
            ({"allowed_hosts": ""}, {HOST}),
            (
                {"allowed_hosts": "Inner.cinema.org,api.internal"},
                {"inner.cinema.org", "api.internal"},
            ),
            ({"env": "dev", "allowed_hosts": ""}, set()),
        ],
    )
    def test_where_no_host_is_named_its_public_one_is(
        self, changes: dict[str, str], names: set[str]
    ) -> None:
        assert hosts_of(strict_settings(**changes)) == names

    @pytest.mark.parametrize("end", ["%0A", "%0D", "%0D%0A", "%00", "%09", "%7F", "%E2%80%A8"])
    async def test_nothing_after_an_address_makes_it_another_to_some_and_not_to_others(
        self, outside: Client, strict: FastAPI, end: str
    ) -> None:
        """A pattern's end is also before a last line end, so ``/metrics%0A`` was ``/metrics``."""
        assert_problem(await outside.get(f"/metrics{end}"), 404, "not_found")
        assert_problem(await outside.post(f"/api/auth/register{end}"), 404, "not_found")
        # Not by the one check alone: the guard knows no such address either.
        access = Access(strict.routes, POLICY)
        assert access.find("GET", "/metrics") is not None
        assert access.find("GET", f"/metrics{unquote(end)}") is None

    @pytest.mark.parametrize(
        "host", ["api.test", "evil.org", "tickets.cinema.org.evil.org", "", "[::1"]
    )
    async def test_it_answers_under_its_own_name_alone(self, outside: Client, host: str) -> None:
        answer = await outside.get(f"/api/booking/{uuid4()}", headers={"Host": host})
        assert_problem(answer, 421, "misdirected")
        assert (await outside.get("/healthz", headers={"Host": host})).status_code == 200
        assert (await outside.get("/readyz", headers={"Host": host})).status_code in (200, 503)

    @pytest.mark.parametrize("host", [HOST, f"{HOST}:443", HOST.upper()])
    async def test_its_name_is_its_name_however_it_is_written(
        self, outside: Client, host: str
    ) -> None:
        assert (await outside.get("/api/movies", headers={"Host": host})).status_code == 200
