"""Workers are killed while they take authorised money: nothing is lost, nothing taken twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kill.conftest import running_town
from tests.kill.town import Json, Town
from tests.stack.command import wait_for

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def promising(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    run_dir = tmp_path_factory.mktemp("promises") / "run"
    with running_town(run_dir, turn=3, SEATHOLD_PAYMENT_MODE="authorise") as town:
        yield town


def test_worker_killed_between_the_capture_and_the_confirmation(promising: Town) -> None:
    """The provider has taken money of bookings that PostgreSQL does not have as paid."""
    town = promising
    bookings = town.hold(8)
    paid, left = bookings[:6], bookings[6:]
    payments = town.open_pages(paid)
    before = town.dev.info["processes"]["worker"]
    # The money is taken at once, and the worker waits to hear of it.
    configure(town, fail_after_effect=True, hang_ms=2000)
    for payment in payments:
        town.buyer.pay(payment, "authorised")
    wait_for(lambda: bool(taken_unheard(town)), seconds=30)
    town.kill("worker")
    cut_off = taken_unheard(town)
    configure(town, fail_after_effect=False, hang_ms=0)
    assert cut_off, "the worker was killed in between"
    town.wait_restarted("worker", before)
    town.assert_ends(paid=paid, left=left)
    ledger = town.buyer.sandbox.get("/test/ledger").json()["payments"]
    assert sorted(one["captured"] for one in ledger) == sorted(
        booking["total"]["amount"] for booking in paid
    )


def taken_unheard(town: Town) -> list[Json]:
    """Payments whose money is taken while their booking is not confirmed."""
    ledger = town.buyer.sandbox.get("/test/ledger").json()["payments"]
    taken = [one for one in ledger if one["status"] == "captured"]
    return [one for one in taken if town.state({"id": one["reference"]}) == "held"]


def configure(town: Town, **faults: int) -> None:
    assert town.buyer.sandbox.post("/test/config", json=faults).status_code == 200
