"""A sealed secret opens with its ring, in its place, unchanged; else not at all."""

from __future__ import annotations

import base64
import os

import pytest

from infra.sealing import SealRing, Unopenable


def key(name: str) -> str:
    return f"{name}:{base64.b64encode(os.urandom(32)).decode()}"


def test_what_is_sealed_opens_again_and_does_not_show_the_secret() -> None:
    ring = SealRing(key("a"))
    sealed = ring.seal(b"the secret", "place")
    assert ring.open(sealed, "place") == b"the secret"
    assert b"the secret" not in sealed
    assert ring.seal(b"the secret", "place") != sealed, "each sealing has a nonce of its own"


def test_a_new_key_seals_and_the_old_one_still_opens() -> None:
    old, new = key("old"), key("new")
    sealed = SealRing(old).seal(b"secret", "place")
    ring = SealRing(f"{new}, {old}")
    assert ring.current == "new"
    assert ring.open(sealed, "place") == b"secret"
    assert SealRing(new).open(ring.seal(b"x", "place"), "place") == b"x"
    with pytest.raises(Unopenable):
        SealRing(new).open(sealed, "place")


def test_it_opens_nowhere_else_and_not_when_changed() -> None:
    ring = SealRing(key("a"))
    sealed = ring.seal(b"secret", "place")
    with pytest.raises(Unopenable):
        ring.open(sealed, "another place")
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(Unopenable):
            ring.open(bytes(changed), "place")
    for length in range(len(sealed)):
        with pytest.raises(Unopenable):
            ring.open(sealed[:length], "place")


@pytest.mark.parametrize(
    "written",
    ["", "a", "a:", "a:c2hvcnQ=", ":" + "A" * 43 + "=", "a:" + "A" * 43 + "=,", "a b:x"],
)
def test_a_ring_that_is_none_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="key"):
        SealRing(written)


def test_a_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="names once"):
        SealRing(f"{key('a')},{key('a')}")
