"""``seathold partners reseal``: the last step before an old key may be taken away."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from infra.postgres.database import Database
from infra.postgres.partner_endpoint import reseal_page
from infra.sealing import SealRing
from infra.settings import Settings

FIRST = UUID(int=0)


async def reseal(settings: Settings, say: Callable[[str], None]) -> int:
    """Seal with the first key whatever another sealed; 1 when something could not be opened.

    A page of endpoints is a transaction, so selling, sending and rotating go on meanwhile.
    """
    ring = SealRing(settings.partner_secret_keys.get_secret_value())
    database = Database(settings, application_name="seathold-partners")
    sealed, after = 0, FIRST
    lost: list[UUID] = []
    try:
        while True:
            page = await reseal_page(database, ring, after)
            sealed += page.sealed
            lost += page.unopenable
            if page.last is None:
                break
            after = page.last
    finally:
        await database.close()
    say(f"{sealed} secrets were sealed anew, by the key {ring.current!r}.")
    for endpoint_id in lost:
        say(f"No key opens the secrets of endpoint {endpoint_id}; its owner must rotate them.")
    return 1 if lost else 0
