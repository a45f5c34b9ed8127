"""Each cell of the decision table that any call leads to, once, through running processes: the API,
a worker, Temporal, the sandbox with its webhooks.
"""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from domain.payment_policy import PaymentMode
from seathold.demo import Buyer
from tests.cells.street import Json, Street, Told
from tests.helpers.policy_cells import CLOSING, NO_TICKET, PAID, reachable
from tests.kill.conftest import roomy_show
from tests.stack.command import running

# How a booking comes into its cell that the others on its show must not feel.
APART = ("OFFERED", "CALLED_OFF")
SETTINGS = {
    # No hold ends by itself here.
    "SEATHOLD_HOLD_SECONDS": "900",
    "SEATHOLD_PAYMENT_GRACE_SECONDS": "600",
    "SEATHOLD_PAYMENT_RETRY_SECONDS": "1",
    "SEATHOLD_RATE_LIMIT_PER_MINUTE": "0",
    "SEATHOLD_MAX_LIVE_HOLDS_PER_USER": "1000",
    "SEATHOLD_MAX_SEATS_PER_USER_SHOW": "1000",
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", PaymentMode)
def test_every_cell_ends_as_the_table_says(mode: PaymentMode, tmp_path: Path) -> None:
    settings = {**SETTINGS, "SEATHOLD_PAYMENT_MODE": mode}
    with (
        running(tmp_path / "run", "--ports", "auto", env=settings) as dev,
        httpx2.Client(base_url=dev.info["api_url"], timeout=40) as http,
        httpx2.Client(base_url=dev.info["api_url"], timeout=40) as other,
        httpx2.Client(base_url=dev.info["sandbox_url"], timeout=40) as sandbox,
    ):
        buyer, rival = Buyer("Ada", http, sandbox), Buyer("Ben", other, sandbox)
        buyer.register()
        rival.register()
        street = Street(dev, buyer, rival, told_by(http, mode))
        become(street)
        street.remember_cases()
        with street.provider_away():
            street.each(street.cancel, street.where("CANCELLING"))
            street.release(street.where("EXPIRING"))
            for state in CLOSING:
                street.wait_states(street.where(state), state.lower())
            street.each(street.happen, street.where(*CLOSING))
        street.each(street.happen, [one for one in street.told if one.cell.state not in CLOSING])
        street.wait_heard()
        assert street.wrong(seconds=60) == []


def told_by(http: httpx2.Client, mode: PaymentMode) -> list[Told]:
    """A seat for each cell; those that need other than a plain show have one to themselves."""
    shows: dict[str, Json] = {}
    for way in ("", *APART):
        shows[way] = roomy_show(http, but=[show["id"] for show in shows.values()])
    free = {way: iter(labels(http, show)) for way, show in shows.items()}
    told = []
    for cell in reachable(mode):
        way = cell.way if cell.way in APART else ""
        told.append(Told(cell, shows[way], next(free[way])))
    return told


def labels(http: httpx2.Client, show: Json) -> list[str]:
    seatmap = http.get(show["seatmap_url"], follow_redirects=True).json()
    return [seat["label"] for seat in seatmap["seats"]]


def become(street: Street) -> None:
    """Bring each booking into its state; those that are closing come later."""
    offered, called_off = street.where("OFFERED"), street.where("CALLED_OFF")
    street.each(street.check_out)
    street.each(street.pay_first, [*street.where(*PAID), *called_off])
    street.each(street.close_page, street.where("HELD"))
    street.each(street.cancel, street.where("CANCELLED"))
    street.release([*street.where("EXPIRED"), *offered])
    street.wait_states([*street.where(*PAID), *called_off], "confirmed")
    street.each(street.give_back, street.where("REFUNDED"))
    street.each(street.lose, street.where("CHARGED_BACK"))
    for state in ("HELD", "EXPIRED", "CANCELLED", *NO_TICKET):
        street.wait_states(street.where(state), state.lower())
    be_offered_others(street, offered)
    be_called_off(street, called_off)
    street.each(street.long_ago, [one for one in street.told if one.cell.window == "outside W"])
    street.each(
        street.sell_its_seat,
        [one for one in street.told if one.cell.seats == "seats taken" and one not in offered],
    )
    street.wait_heard()


def be_offered_others(street: Street, found: list[Told]) -> None:
    """Paid late, and somebody else had the seats; by now they may be free again."""
    if not found:
        return
    street.make_offers(found[0].show)
    street.wait_states(found, "expired")
    street.each(street.sell_its_seat, found)
    street.each(street.pay_first, found)
    street.wait_offers(found)
    street.each(street.free_its_seat, [one for one in found if one.cell.seats == "seats free"])


def be_called_off(street: Street, found: list[Told]) -> None:
    street.each(street.pay_back, found)
    street.call_off(found[0].show)
    street.wait_states(found, "cancelled")
