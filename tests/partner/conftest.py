"""An owner with endpoints at a real receiver, and the loops that tell it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.outbound import OutboundPolicy
from infra.postgres.database import Database
from infra.settings import DEV_PARTNER_KEYS
from tests.partner.receiver import Receiver, running_receiver
from tests.partner.town import Partner, new_partner

LOCAL = OutboundPolicy(https_only=False, ports=None, exempt=(ip_network("127.0.0.0/8"),))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with running_receiver() as receiver:
        yield receiver


@pytest.fixture
async def partner(
    engine: AsyncEngine, database: Database, receiver: Receiver
) -> AsyncIterator[Partner]:
    """One owner; his endpoints are gone afterwards, so that no other test tells them anything.

    Nor do they hear of what happened in tests before, and there is nobody else to be told.
    """
    partner = await new_partner(engine, database, receiver, DEV_PARTNER_KEYS, LOCAL)
    await partner.change("DELETE FROM partner_endpoints")
    await partner.catch_up()
    yield partner
    await partner.leave()
