"""A body means what it says: a text is no number and no truth value, whatever it reads like."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from pydantic import ValidationError

from api import schemas
from api.schemas.common import ApiModel

for module in pkgutil.iter_modules(schemas.__path__, "api.schemas."):
    import_module(module.name)


def bodies(model: type[ApiModel] = ApiModel) -> Iterator[type[ApiModel]]:
    for body in model.__subclasses__():
        yield body
        yield from bodies(body)


def kinds(schema: dict[str, Any]) -> set[str]:
    return {one.get("type", "") for one in schema.get("anyOf", [schema])}


PLAIN = [
    pytest.param(body, field, id=f"{body.__name__}.{field}")
    for body in bodies()
    for field, schema in body.model_json_schema().get("properties", {}).items()
    if kinds(schema) & {"boolean", "integer"}
]


@pytest.mark.parametrize(("body", "field"), PLAIN)
def test_a_text_is_not_taken_for_a_number_or_a_truth_value(
    body: type[ApiModel], field: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        body.model_validate({field: "1"})
    assert field in [error["loc"][0] for error in refused.value.errors() if error["loc"]]


def test_there_are_such_fields() -> None:
    assert len(PLAIN) > 5
