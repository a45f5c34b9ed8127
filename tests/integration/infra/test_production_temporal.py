"""Production does not run on a Temporal server that a restart may empty."""

from __future__ import annotations

import pytest

from infra.settings import Settings
from infra.temporal import connect


async def test_a_server_on_sqlite_is_refused_in_production_alone(settings: Settings) -> None:
    production = settings.model_copy(update={"env": "production"})
    with pytest.raises(RuntimeError, match="its store is SQLite"):
        await connect(production)
    assert await connect(settings), "the control: development takes it"
