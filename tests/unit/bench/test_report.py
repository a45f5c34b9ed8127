"""The machine that a figure comes from is named as it is."""

from __future__ import annotations

import pytest

from bench.report import redis_version


@pytest.mark.parametrize(
    ("about", "name"),
    [
        (
            {"server_name": "valkey", "redis_version": "7.2.4", "valkey_version": "9.1.2"},
            "valkey 9.1.2",
        ),
        ({"server_name": "valkey", "redis_version": "7.2.4"}, "valkey 7.2.4"),
        ({"redis_version": "7.0.15"}, "redis 7.0.15"),
    ],
)
def test_valkey_is_named_by_its_own_version(about: dict[str, str], name: str) -> None:
    assert redis_version(about) == name
