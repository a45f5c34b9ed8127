"""``seathold partners reseal``: after it, the first key alone opens every secret."""

from __future__ import annotations

import base64
import os

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.outbound import OutboundPolicy
from infra.postgres.database import Database
from infra.postgres.engine import create_engine
from infra.postgres.partner_endpoint import PostgresEndpoints
from infra.sealing import SealRing, Unopenable
from infra.settings import Settings
from seathold import partners
from services.partner import Owner, PartnerDesk, place_of
from tests.conftest import WORKER
from tests.factories import create_user
from tests.fixtures import servers

OLD = f"old:{base64.b64encode(b'o' * 32).decode()}"
NEW = f"new:{base64.b64encode(b'n' * 32).decode()}"
SECRETS = text("SELECT id, secret, previous_secret FROM partner_endpoints")


@pytest.fixture
def own(settings: Settings) -> Settings:
    """A database of its own, for all endpoints of one are sealed anew."""
    name = f"seathold_reseal_{WORKER}"
    url = servers.make_database(os.environ[servers.DATABASE], name)
    redis_url = settings.redis_url.get_secret_value()
    return servers.settings_for(servers.as_app(url), redis_url, partner_secret_keys=f"{NEW},{OLD}")


async def opened(engine: AsyncEngine, ring: SealRing) -> set[bytes]:
    async with engine.connect() as connection:
        rows = (await connection.execute(SECRETS)).all()
    return {
        ring.open(bytes(one), place_of(row.id))
        for row in rows
        for one in (row.secret, row.previous_secret)
        if one is not None
    }


async def test_after_it_the_old_key_may_go(own: Settings) -> None:
    engine, database = create_engine(own), Database(own)
    owner = Owner(await create_user(engine), None)
    policy = OutboundPolicy(https_only=False, ports=None)
    before = PartnerDesk(PostgresEndpoints(database), SealRing(OLD), policy)
    for number in range(3):
        id_, _ = await before.create(
            owner, url=f"https://a.example/{number}", description="", event_types=["show.cancelled"]
        )
    await before.rotate(owner, id_, overlap_seconds=3600)
    plain = await opened(engine, SealRing(OLD))
    assert len(plain) == 4
    with pytest.raises(Unopenable):
        await opened(engine, SealRing(NEW))

    told: list[str] = []
    assert await partners.reseal(own, told.append) == 0
    assert await opened(engine, SealRing(NEW)) == plain
    assert await partners.reseal(own, told.append) == 0
    assert told == [
        "4 secrets were sealed anew, by the key 'new'.",
        "0 secrets were sealed anew, by the key 'new'.",
    ]

    lost = own.model_copy(update={"partner_secret_keys": type(own.partner_secret_keys)(OLD)})
    assert await partners.reseal(lost, told.append) == 1
    assert sum(str(id_) in line for line in told) == 1
    assert await opened(engine, SealRing(NEW)) == plain, "what cannot be opened is left alone"
    await database.close()
    await engine.dispose()
