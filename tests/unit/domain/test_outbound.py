"""Which URLs and addresses are refused: every form that reaches what is not public."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from domain.errors import Invalid
from domain.outbound import OutboundPolicy, checked_addresses, may_reach, target_of
from tests.helpers.forbidden_urls import FORBIDDEN

STRICT = OutboundPolicy()
LOCAL = OutboundPolicy(https_only=False, ports=None, exempt=(ip_network("127.0.0.0/8"),))


@pytest.mark.parametrize("url", FORBIDDEN)
def test_a_url_that_could_reach_what_is_not_public_is_refused(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        target_of(url, STRICT)
    assert refused.value.code == "invalid_url"


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("https://partner.example", "partner.example", 443, "/"),
        ("https://Partner.Example:8443/a/b?c=d", "partner.example", 8443, "/a/b?c=d"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443, "/"),
        ("https://8.8.8.8/hook", "8.8.8.8", 443, "/hook"),
        ("https://[2606:4700::1111]/", "2606:4700::1111", 443, "/"),
    ],
)
def test_a_public_url_is_taken_apart(url: str, host: str, port: int, path: str) -> None:
    target = target_of(url, STRICT)
    assert (target.host, target.port, target.path) == (host, port, path)


def test_in_development_this_machine_may_listen_in_plain_http() -> None:
    target = target_of("http://127.0.0.1:5000/hook", LOCAL)
    assert (target.authority, target.port) == ("127.0.0.1:5000", 5000)
    assert target_of("http://localhost:5000/", LOCAL).host == "localhost"
    for url in ("http://10.0.0.1/", "ftp://127.0.0.1:5000/"):
        with pytest.raises(Invalid):
            target_of(url, LOCAL)


def test_what_a_name_and_a_url_may_have_at_most() -> None:
    name = ".".join(["x" * 63] * 3 + ["y" * 61])
    longest = f"https://{name}/".ljust(2048, "z")
    assert target_of(longest, STRICT).host == name
    for url in (longest + "z", f"https://{name}y/"):
        with pytest.raises(Invalid):
            target_of(url, STRICT)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001::1"],
)
def test_public_addresses_may_be_reached(address: str) -> None:
    assert may_reach(ip_address(address), STRICT)


@pytest.mark.parametrize(
    "found",
    [
        [],
        ["127.0.0.1"],
        ["8.8.8.8", "127.0.0.1"],
        ["8.8.8.8", "::ffff:10.0.0.1"],
        ["169.254.169.254"],
        ["fe80::1%eth0"],
        ["2606:4700::1111%eth0"],
        ["::1"],
    ],
)
def test_a_name_with_one_forbidden_address_is_forbidden(found: list[str]) -> None:
    with pytest.raises(Invalid) as refused:
        checked_addresses(found, STRICT)
    assert refused.value.code == "forbidden_address"
