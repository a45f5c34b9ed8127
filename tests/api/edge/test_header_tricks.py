"""Headers twice, in odd case, or by somebody else, on a raw socket: limits see through them."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from domain.user import Role
from infra.settings import Settings
from infra.tokens import TokenSigner
from tests.api.edge.test_protocol import Hasty, Server, serving, status_of
from tests.helpers.edge import QUOTA, started

READ = b"GET /api/movies HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n"
OWN = b"GET /api/me HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n"
# What a client writes before its proxy appends whom it talked to; {} is new with each request.
TRICKS = (
    "X-Forwarded-For: {}",
    "x-fOrWaRdEd-FoR: {}",
    "X-FORWARDED-FOR: {}, {}\r\nx-forwarded-for: {}",
    "X-Forwarded-For:\t{}\t",
    "X-Forwarded-For: ,,{},",
    "X-Forwarded-For: unknown, {}",
    "X-Forwarded-For: 10.0.0.1, 127.0.0.1, {}",
    "X_Forwarded_For: {}",
    "X-Forwarded-For : {}",
    "X-Real-IP: {}\r\nForwarded: for={}\r\nTrue-Client-IP: {}\r\nCF-Connecting-IP: {}",
)


@pytest.fixture(scope="module")
async def proxied(settings: Settings, redis: Redis) -> AsyncIterator[tuple[Server, TokenSigner]]:
    """The app behind a proxy on this machine, and who signs its access tokens."""
    loopback = (ipaddress.ip_network("127.0.0.0/8"),)
    async with (
        started(settings, rate_limit_per_minute=QUOTA, trusted_proxies=loopback) as app,
        serving(app, Hasty) as server,
    ):
        yield server, app.state.parts.signer


def made_up() -> str:
    return ".".join(str(1 + secrets.randbelow(200)) for _ in range(4))


def appended(address: str) -> bytes:
    """As the proxy does."""
    return f"X-Forwarded-For: {address}\r\n\r\n".encode()


@pytest.mark.parametrize("trick", TRICKS)
async def test_no_header_of_the_client_makes_it_another(
    proxied: tuple[Server, TokenSigner], address: str, trick: str
) -> None:
    server, found = proxied[0], []
    for _ in range(QUOTA + 2):
        line = trick.replace("{}", made_up()).encode() + b"\r\n"
        found.append(status_of(await server.ask(READ + line + appended(address))))
    # A space before the colon is no HTTP at all.
    wanted = [400] * (QUOTA + 2) if " :" in trick else [200] * QUOTA + [429] * 2
    assert found == wanted


async def test_the_proxys_word_makes_it_another(
    proxied: tuple[Server, TokenSigner], addresses: Iterator[str]
) -> None:
    """The control: it is by the last address that they are counted."""
    for _ in range(QUOTA + 2):
        assert status_of(await proxied[0].ask(READ + appended(next(addresses)))) == 200


@pytest.mark.parametrize(
    "trick",
    [
        "Authorization: Bearer {token}",
        "aUtHoRiZaTiOn: bEaReR  {token} ",
        "Authorization: Bearer {token}\r\nAuthorization: Bearer {new}",
        "Authorization: Bearer {token}\r\nauthorization: Basic {new}",
    ],
)
async def test_a_token_in_odd_clothes_is_still_the_users(
    proxied: tuple[Server, TokenSigner], addresses: Iterator[str], trick: str
) -> None:
    server, signer = proxied
    token, found = signer.issue(uuid4(), Role.USER, uuid4()), []
    for _ in range(QUOTA + 2):
        line = trick.format(token=token, new=secrets.token_hex(8)).encode() + b"\r\n"
        found.append(status_of(await server.ask(OWN + line + appended(next(addresses)))))
    assert 429 not in found[:QUOTA]
    assert found[QUOTA:] == [429] * 2


async def test_of_two_credentials_the_limits_and_the_guard_take_the_same(
    proxied: tuple[Server, TokenSigner], address: str
) -> None:
    server, signer = proxied
    token = signer.issue(uuid4(), Role.USER, uuid4())
    lines = f"Authorization: Bearer x\r\nAuthorization: Bearer {token}\r\n".encode()
    assert status_of(await server.ask(OWN + lines + appended(address))) == 401
    lines = f"Authorization: Bearer {token}\r\nX-API-Key: sk_x_y\r\n".encode()
    assert status_of(await server.ask(OWN + lines + appended(address))) == 401
