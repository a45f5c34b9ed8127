"""A whole stack on servers that run already: the tests' own, on PostgreSQL 15 and Redis 7 too."""

from __future__ import annotations

from pathlib import Path

import httpx2
import psycopg
import pytest

from seathold.demo import Buyer
from tests.compose.test_native_start import order
from tests.fixtures import servers
from tests.stack.command import running


@pytest.mark.timeout(240)
def test_a_stack_sells_on_servers_that_are_named_to_it(tmp_path: Path) -> None:
    given = servers.for_stack(1)
    with running(tmp_path / "run", "--ports", "auto", env=given) as dev:
        assert dev.info["processes"].keys().isdisjoint({"postgres", "redis"})
        with (
            httpx2.Client(base_url=dev.info["api_url"], timeout=40) as http,
            httpx2.Client(base_url=dev.info["sandbox_url"], timeout=40) as sandbox,
        ):
            buyer = Buyer("Ada", http, sandbox)
            buyer.register()
            booking = buyer.hold(*order(buyer))
            buyer.pay(buyer.checkout(booking), "captured")
            assert buyer.confirm(booking).json()["state"] == "confirmed"
    with psycopg.connect(given["SEATHOLD_MIGRATE_DATABASE_URL"]) as connection:
        found = connection.execute("SELECT state FROM bookings WHERE id = %s", (booking["id"],))
        assert found.fetchone() == ("confirmed",)
