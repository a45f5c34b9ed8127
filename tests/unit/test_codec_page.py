"""The codec server's page and cookie as production has them: behind a proxy that speaks TLS."""

from __future__ import annotations

from typing import cast

import httpx2
import pytest
from temporalio.converter import PayloadCodec
from typer.testing import CliRunner

from infra.settings import Settings
from seathold import cli
from seathold.codec import main
from seathold.codec.readers import Readers
from seathold.codec.web import CodecServer
from tests.compose.test_image import server as http_server
from tests.helpers.production import environment

PUBLIC = "https://codec.cinema.org"
DEVELOPMENT = "http://codec.cinema.org"
UI = "https://temporal.cinema.org"
FORM = {"email": "a", "password": "b"}


class Anybody:
    """Lets everybody in under one key."""

    async def log_in(self, *_: str) -> str:
        return "key"

    async def log_out(self, key: str) -> None: ...

    async def reader(self, key: str) -> str:
        return "somebody"


def server(own: str = PUBLIC) -> CodecServer:
    return CodecServer(
        cast("PayloadCodec", None),
        cast("Readers", Anybody()),
        ui_origins=[UI],
        own_origins=[own],
    )


def browser(own: str = PUBLIC) -> httpx2.AsyncClient:
    """The last hop, from the proxy to us, is plain HTTP whatever the browser speaks."""
    transport = httpx2.ASGITransport(server(own).app())
    return httpx2.AsyncClient(transport=transport, base_url="http://codec.cinema.org")


async def cookie(own: str) -> set[str]:
    async with browser(own) as one:
        answer = await one.post("/login", data=FORM, headers={"Origin": own})
    assert answer.status_code == 303
    return {part.strip().lower() for part in answer.headers["set-cookie"].split(";")}


async def test_a_cookie_of_the_codec_server_is_as_narrow_as_can_be() -> None:
    told = await cookie(PUBLIC)
    assert {"secure", "httponly", "samesite=strict", "path=/"} <= told
    assert any(part.startswith("__host-seathold_codec=") for part in told)
    assert not any(part.startswith("domain=") for part in told), "of this host alone"
    assert "secure" not in await cookie(DEVELOPMENT), "the control: in development"


@pytest.mark.parametrize("path", ["/login", "/logout"])
@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (PUBLIC, 303),
        (DEVELOPMENT, 403),
        (UI, 403),
        ("https://codec.cinema.org.evil.test", 403),
        ("null", 403),  # a frame that some page has sandboxed
        (None, 403),
    ],
)
async def test_only_its_own_page_may_log_somebody_in_or_out(
    path: str, origin: str | None, status: int
) -> None:
    async with browser() as one:
        headers = {"Origin": origin} if origin else {}
        answer = await one.post(path, data=FORM, headers=headers)
    assert answer.status_code == status
    assert ("set-cookie" in answer.headers) is (status == 303)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_in_development_it_is_found_on_this_machine(host: str) -> None:
    origin = f"http://{host}:8088"
    transport = httpx2.ASGITransport(main.create_app(Settings(_env_file=None), [UI], 8088))
    async with httpx2.AsyncClient(transport=transport, base_url=origin) as one:
        mine = await one.post("/logout", headers={"Origin": origin})
        other = await one.post("/logout", headers={"Origin": "http://localhost:8089"})
    assert (mine.status_code, other.status_code) == (303, 403)


async def test_the_api_is_asked_without_the_proxy_for_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    own = "http://127.0.0.1:8088"
    with http_server(501) as api:
        app = main.create_app(Settings(_env_file=None, public_url=api), [UI], 8088)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=own) as one:
            answer = await one.post("/login", data=FORM, headers={"Origin": own})
    assert "Address, password or code is wrong." in answer.text, "the API's word, not the proxy's"


def test_in_production_it_does_not_start_without_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[Settings] = []
    monkeypatch.setattr(main, "run", lambda settings, *_: started.append(settings))
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    refused = CliRunner().invoke(cli.app, ["codec"])
    assert refused.exit_code == 2
    assert "SEATHOLD_CODEC_ORIGIN is not set" in refused.output
    monkeypatch.setenv("SEATHOLD_CODEC_ORIGIN", PUBLIC)
    assert CliRunner().invoke(cli.app, ["codec"]).exit_code == 0
    assert [settings.codec_origin for settings in started] == [PUBLIC]


@pytest.mark.parametrize("path", ["/", "/healthz", "/decode", "/nowhere"])
async def test_the_codec_server_is_not_sniffed_and_asked_by_tls_only(path: str) -> None:
    async with browser() as one, browser(DEVELOPMENT) as another:
        production, development = await one.get(path), await another.get(path)
    assert production.headers["x-content-type-options"] == "nosniff"
    assert "max-age=63072000" in production.headers["strict-transport-security"]
    assert development.headers["x-content-type-options"] == "nosniff"
    assert "strict-transport-security" not in development.headers, "nobody could reach it again"


async def test_the_codec_servers_page_hides_and_accepts_pasted_passwords() -> None:
    page = bytes(server()._page().body).decode()
    assert 'name="password" type="password" autocomplete="current-password"' in page
    assert "onpaste" not in page
    assert "<script" not in page
