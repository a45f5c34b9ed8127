"""Bring a stack's database up to date in one process: schema, demo catalogue, first admin."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress

from domain.errors import Conflict
from infra.postgres import migrate
from infra.settings import Settings
from seathold.admin import create_admin
from seathold.catalogue import demo


async def _fill(settings: Settings) -> None:
    if os.environ.get("SEATHOLD_SEED", "1") == "1":
        await demo.seed(settings)
    email, password = os.environ["SEATHOLD_ADMIN_EMAIL"], os.environ["SEATHOLD_ADMIN_PASSWORD"]
    # From the second start on it is there.
    with suppress(Conflict):
        await create_admin(settings, email, password, another=True)


if __name__ == "__main__":
    settings = Settings()
    try:
        migrate.upgrade(settings)
    except migrate.EarlierDraft as error:
        sys.exit(str(error))
    asyncio.run(_fill(settings))
