"""Which URLs and addresses are refused: every form that reaches what is not public."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from domain.errors import Invalid
from domain.outbound import OutboundPolicy, checked_addresses, may_reach, target_of

STRICT = OutboundPolicy()
LOCAL = OutboundPolicy(https_only=False, ports=None, exempt=(ip_network("127.0.0.0/8"),))
REFUSED = (
    # Not HTTPS, or not a URL at all.
    "http://partner.example/",
    "ftp://partner.example/",
    "file:///etc/passwd",
    "gopher://partner.example/",
    "//partner.example/",
    "partner.example/hook",
    "https://",
    "https:///path",
    "",
    # This machine and this network by name.
    "https://localhost/",
    "https://localhost./",
    "https://LOCALHOST/",
    "https://metadata.google.internal/",
    "https://printer.local/",
    "https://redis/",
    # Private, loopback, link-local, shared, reserved, multicast, metadata.
    "https://127.0.0.1/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.64.0.1/",
    "https://100.100.100.200/",
    "https://168.63.129.16/",
    "https://0.0.0.0/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    # The same in the spellings that resolvers take.
    "https://2130706433/",
    "https://0177.0.0.1/",
    "https://0x7f.0.0.1/",
    "https://0x7f000001/",
    "https://127.1/",
    "https://127.0.1/",
    "https://017700000001/",
    "https://127.0.0.1./",
    "https://1.2.3.4.5/",
    # IPv6, and IPv4 inside of it.
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:8.8.8.8]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fd00:ec2::254]/",
    "https://[ff02::1]/",
    "https://[::1",
    # A name that only looks like another, or carries more than a host.
    "https://partner.example@127.0.0.1/",
    "https://user:password@partner.example/",
    "https://partner.example\\@127.0.0.1/",
    "https://partner.example#@127.0.0.1/",
    "https://127。0。0。1/",
    "https://ⓛocalhost/",
    "https://partner%2eexample/",
    "https://partner.example\r\nHost: x/",
    "https://partner .example/",
    "https://-partner.example/",
    "https://partner..example/",
    # Ports of other services.
    "https://partner.example:22/",
    "https://partner.example:6379/",
    "https://partner.example:80/",
    "https://partner.example:0/",
    "https://partner.example:99999/",
    "https://partner.example/" + "x" * 2048,
)


@pytest.mark.parametrize("url", REFUSED)
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
    with pytest.raises(Invalid):
        target_of("http://10.0.0.1/", LOCAL)


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
        ["::1"],
    ],
)
def test_a_name_with_one_forbidden_address_is_forbidden(found: list[str]) -> None:
    with pytest.raises(Invalid) as refused:
        checked_addresses(found, STRICT)
    assert refused.value.code == "forbidden_address"
