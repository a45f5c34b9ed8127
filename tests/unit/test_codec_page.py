"""The codec server's page and cookie as production has them: over HTTPS."""

from __future__ import annotations

from typing import cast

import httpx2
from starlette.applications import Starlette
from temporalio.converter import PayloadCodec

from seathold.codec.readers import Readers
from seathold.codec.web import CodecServer

URL = "https://codec.cinema.org"


class Anybody:
    """Lets everybody in under one key."""

    async def log_in(self, *_: str) -> str:
        return "key"

    async def reader(self, key: str) -> str:
        return "somebody"


def client(*, secure: bool) -> httpx2.AsyncClient:
    server = CodecServer(
        cast("PayloadCodec", None),
        cast("Readers", Anybody()),
        ui_origins=["https://temporal.cinema.org"],
        secure=secure,
    )
    transport = httpx2.ASGITransport(Starlette(routes=server.routes()))
    return httpx2.AsyncClient(transport=transport, base_url=URL)


async def cookie(*, secure: bool) -> set[str]:
    async with client(secure=secure) as browser:
        answer = await browser.post("/login", data={"email": "a", "password": "b"})
    assert answer.status_code == 303
    return {part.strip().lower() for part in answer.headers["set-cookie"].split(";")}


async def test_a_cookie_of_the_codec_server_is_as_narrow_as_can_be() -> None:
    told = await cookie(secure=True)
    assert {"secure", "httponly", "samesite=strict", "path=/"} <= told
    assert any(part.startswith("__host-seathold_codec=") for part in told)
    assert not any(part.startswith("domain=") for part in told), "of this host alone"
    assert "secure" not in await cookie(secure=False), "the control: in development"


async def test_the_codec_servers_page_hides_and_accepts_pasted_passwords() -> None:
    server = CodecServer(
        cast("PayloadCodec", None),
        cast("Readers", Anybody()),
        ui_origins=["https://temporal.cinema.org"],
        secure=True,
    )
    page = bytes(server._page().body).decode()
    assert 'name="password" type="password" autocomplete="current-password"' in page
    assert "onpaste" not in page
    assert "<script" not in page
