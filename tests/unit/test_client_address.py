"""Whose address counts: what a stranger writes into headers changes nothing."""

from __future__ import annotations

import ipaddress
import random

import pytest

from api.middleware.client import Network, address_of, who

PROXIES: tuple[Network, ...] = (
    ipaddress.ip_network("10.0.0.0/8"),
    ipaddress.ip_network("fd00::/8"),
)
STRANGER = "198.51.100.7"


def seen(peer: str | None, *forwarded: str, trusted: tuple[Network, ...] = PROXIES) -> str:
    """Whom limits count the request to."""
    headers = [(b"x-forwarded-for", line.encode("latin-1")) for line in forwarded]
    # What anybody may send counts for nothing.
    headers += [(b"x-real-ip", b"192.0.2.6"), (b"forwarded", b"for=192.0.2.6")]
    scope = {"client": (peer, 1) if peer else None, "headers": headers}
    return who(address_of(scope, trusted))


@pytest.mark.parametrize(
    ("peer", "forwarded", "told"),
    [
        (STRANGER, (), STRANGER),
        (STRANGER, ("1.2.3.4",), STRANGER),
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", (STRANGER,), STRANGER),
        ("10.0.0.1", (f"1.2.3.4, {STRANGER}",), STRANGER),
        ("10.0.0.1", (f"1.2.3.4, {STRANGER}, 10.9.9.9",), STRANGER),
        ("10.0.0.1", ("1.2.3.4", STRANGER), STRANGER),
        ("10.0.0.1", (STRANGER, "10.9.9.9"), STRANGER),
        ("10.0.0.1", (f"{STRANGER}:4711",), STRANGER),
        ("10.0.0.1", ("10.2.2.2, 10.3.3.3",), "10.2.2.2"),
        ("10.0.0.1", ("unknown",), "10.0.0.1"),
        ("10.0.0.1", (f"{STRANGER}, unknown, 10.9.9.9",), "10.9.9.9"),
        ("10.0.0.1", ("",), "10.0.0.1"),
        ("10.0.0.1", ("\xff\xfe",), "10.0.0.1"),
        ("fd00::1", ("2001:db8:1:2:3::4",), "2001:db8:1:2::/64"),
        ("fd00::1", ("[2001:db8:1:2:3::4]:99",), "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", (STRANGER,), STRANGER),
        ("::ffff:198.51.100.7", (), STRANGER),
        (None, (STRANGER,), "unknown"),
        ("/run/a.sock", (STRANGER,), "unknown"),
    ],
)
def test_the_rightmost_untrusted_address_counts(
    peer: str | None, forwarded: tuple[str, ...], told: str
) -> None:
    assert seen(peer, *forwarded) == told


def test_a_thousand_made_up_headers_are_one_client() -> None:
    chance = random.Random(1)

    def written() -> str:
        hops = [".".join(str(chance.randrange(256)) for _ in range(4)) for _ in range(3)]
        return ", ".join(hops)

    assert {seen(STRANGER, written()) for _ in range(1000)} == {STRANGER}
    assert {seen("10.0.0.1", f"{written()}, {STRANGER}") for _ in range(1000)} == {STRANGER}
    everybody = (ipaddress.ip_network("0.0.0.0/0"),)
    trusting = {seen(STRANGER, written(), trusted=everybody) for _ in range(1000)}
    assert len(trusting) > 900, "who trusts everybody lets each choose his own address"


def test_a_list_without_end_is_not_read_to_its_end() -> None:
    assert seen("10.0.0.1", ", ".join(["10.0.0.2"] * 5000)) == "10.0.0.2"
