"""``Read-After`` as somebody may send it: what is no moment of ours asks for nothing."""

from __future__ import annotations

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.factories import create_hall


@pytest.mark.parametrize("value", [b"\xb2", b"1\xb9", b"-1", b"x", b"", b"9" * 40])
@pytest.mark.parametrize("path", ["/api/show/{id}", "/api/show/{id}/availability"])
async def test_what_is_no_moment_asks_for_nothing(
    client: httpx2.AsyncClient, engine: AsyncEngine, path: str, value: bytes
) -> None:
    """Also what Unicode calls digits: in these headers they are letters."""
    hall = await create_hall(engine)
    # Once by the way of the framework, once from the shelf.
    for _ in range(2):
        answer = await client.get(path.format(id=hall.show_id), headers={b"Read-After": value})
        assert answer.status_code == 200, answer.text
