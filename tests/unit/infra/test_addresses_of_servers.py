"""An address that none of our drivers takes is refused by the setting's name, not deep inside."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from infra.settings import Settings, refusals


def settings(name: str, value: str) -> Settings:
    values: dict[str, Any] = {name: value}
    return Settings(_env_file=None, **values)


@pytest.mark.parametrize("name", ["database_url", "migrate_database_url", "redis_url"])
@pytest.mark.parametrize("address", ["postgres://a:hidden@h/x", "postgres//x", "h:6379", "5433"])
def test_an_address_of_another_kind_is_refused_by_its_name(name: str, address: str) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(name, address)
    (said,) = refusals(refused.value)
    assert said.startswith(f"SEATHOLD_{name.upper()}: begins with ")
    assert "hidden" not in str(refused.value)


def test_a_url_of_the_owner_that_is_set_but_empty_is_none() -> None:
    assert settings("migrate_database_url", "").migrate_database_url is None
