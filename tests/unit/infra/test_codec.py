"""Payloads sealed under named keys: what they give away, and what is refused."""

from __future__ import annotations

import base64

import pytest
from temporalio.api.common.v1 import Payload

from infra.codec import SealBroken, SealedByUnknownKey, SealingCodec, parse_keys

OLD, NEW = b"o" * 32, b"n" * 32
SECRET = Payload(metadata={"encoding": b"json/plain"}, data=b'"ada@example.test"')


def named(**keys: bytes) -> str:
    return ",".join(f"{name}:{base64.b64encode(key).decode()}" for name, key in keys.items())


async def test_a_sealed_payload_shows_neither_its_data_nor_its_kind() -> None:
    codec = SealingCodec({"new": NEW})
    [sealed] = await codec.encode([SECRET])
    assert b"ada" not in sealed.SerializeToString()
    assert b"json/plain" not in sealed.SerializeToString()
    assert sealed.metadata["encryption-key-id"] == b"new"
    assert await codec.decode([sealed]) == [SECRET]


async def test_the_same_payload_never_looks_the_same_twice() -> None:
    first, second = await SealingCodec({"new": NEW}).encode([SECRET, SECRET])
    assert first.data != second.data


async def test_a_replaced_key_still_opens_and_the_new_one_seals() -> None:
    [before] = await SealingCodec({"old": OLD}).encode([SECRET])
    rotated = SealingCodec(parse_keys(named(new=NEW, old=OLD)))
    assert await rotated.decode([before]) == [SECRET]
    [after] = await rotated.encode([SECRET])
    assert after.metadata["encryption-key-id"] == b"new"


async def test_a_key_taken_away_is_named() -> None:
    [before] = await SealingCodec({"old": OLD}).encode([SECRET])
    with pytest.raises(SealedByUnknownKey, match="'old'"):
        await SealingCodec({"new": NEW}).decode([before])


@pytest.mark.parametrize("place", [0, 12, -1], ids=["nonce", "data", "tag"])
async def test_a_changed_payload_is_refused(place: int) -> None:
    codec = SealingCodec({"new": NEW})
    [sealed] = await codec.encode([SECRET])
    changed = bytearray(sealed.data)
    changed[place] ^= 1
    sealed.data = bytes(changed)
    with pytest.raises(SealBroken):
        await codec.decode([sealed])


async def test_a_payload_moved_under_another_keys_name_is_refused() -> None:
    codec = SealingCodec({"new": NEW, "twin": NEW})
    [sealed] = await codec.encode([SECRET])
    sealed.metadata["encryption-key-id"] = b"twin"
    with pytest.raises(SealBroken):
        await codec.decode([sealed])


async def test_what_was_never_sealed_passes() -> None:
    assert await SealingCodec({"new": NEW}).decode([SECRET]) == [SECRET]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "new",
        "new:",
        "new:###",
        f"new:{base64.b64encode(b'short').decode()}",
        f"{named(new=NEW)},{named(new=OLD)}",
        f"two words:{base64.b64encode(NEW).decode()}",
    ],
)
def test_what_is_no_list_of_keys_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="key"):
        parse_keys(text)
