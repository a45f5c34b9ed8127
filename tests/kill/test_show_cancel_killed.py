"""A show is cancelled, and the worker and Temporal are killed while its money goes back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx2
import pytest

from tests.kill.conftest import roomy_show
from tests.kill.town import SETTLE_SECONDS, Json, Town
from tests.stack.command import wait_for

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def matinee(town: Town) -> Town:
    """The same town at another show, for this one will be lost to the other tests."""
    show = roomy_show(town.buyer.http, but=[town.show["id"]])
    seatmap = town.buyer.http.get(show["seatmap_url"], follow_redirects=True).json()
    return replace(town, show=show, free=[seat["label"] for seat in seatmap["seats"]])


class Desk:
    """The staff's side of one show."""

    def __init__(self, town: Town) -> None:
        self._http, self._path = town.buyer.http, f"/api/admin/shows/{town.show['id']}/cancel"
        login = {key: town.dev.info["admin"][key] for key in ("email", "password")}
        token = self._http.post("/api/auth/login", json=login).json()["access_token"]
        self._headers = {"Authorization": f"Bearer {token}"}

    def cancel(self) -> httpx2.Response:
        return self._http.post(self._path, json={"reason": "Power cut"}, headers=self._headers)

    def read(self) -> Json:
        answer = self._http.get(self._path, headers=self._headers)
        found: Json = answer.json() if answer.status_code == 200 else {}
        return found

    def refunded(self) -> int:
        return sum(one["count"] for one in self.read().get("report", {}).get("refunded", ()))


@pytest.mark.parametrize("roles", [("worker",), ("temporal", "worker")], ids="+".join)
def test_every_refund_is_sent_once(matinee: Town, roles: tuple[str, ...]) -> None:
    bookings = matinee.hold(16)
    paid, left = bookings[:14], bookings[14:]
    matinee.pay(matinee.open_pages(paid))
    wait_for(lambda: all(matinee.state(one) == "confirmed" for one in paid), SETTLE_SECONDS)
    desk = Desk(matinee)
    assert desk.cancel().status_code == 202
    wait_for(lambda: desk.refunded() >= 1, SETTLE_SECONDS)
    before: dict[str, Any] = {role: matinee.dev.info["processes"][role] for role in roles}
    for role in roles:
        matinee.kill(role)
    assert desk.read()["status"] == "running"
    for role in roles:
        matinee.wait_restarted(role, before[role])
    wait_for(lambda: desk.read().get("status") == "finished", 2 * SETTLE_SECONDS)

    assert {matinee.state(one) for one in paid} == {"refunded"}
    assert {matinee.state(one) for one in left} <= {"cancelled", "expired"}
    ledger = matinee.buyer.sandbox.get("/test/ledger").json()
    ours = {one["id"]: one["total"]["amount"] for one in paid}
    payments = {one["id"]: one for one in ledger["payments"] if one["reference"] in ours}
    assert len(payments) == len(paid)
    sent = [one for one in ledger["refunds"] if one["payment_id"] in payments]
    assert len(sent) == len(paid)
    for payment in payments.values():
        assert payment["refunded"] == payment["captured"] == ours[payment["reference"]]
    assert desk.read()["report"]["cases"] == []
    matinee.assert_ends()
