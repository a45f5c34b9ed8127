"""One stack for all kill tests: each leaves it whole, or the next would see."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from seathold.demo import Buyer
from tests.fixtures import servers
from tests.kill.town import SETTINGS, Json, Town
from tests.stack.command import running, wait_for


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with running_town(tmp_path_factory.mktemp("kill") / "run", turn=2) as town:
        yield town


@contextmanager
def running_town(run_dir: Path, *, turn: int, **settings: str) -> Iterator[Town]:
    """A stack under ``run_dir`` with ``settings`` beside the usual ones; it leaves nothing.

    On Debian's servers, where those are tested, with the ``turn`` of ``servers.for_stack``.
    """
    given = servers.for_stack(turn) if servers.STACKS in os.environ else {}
    with (
        running(run_dir, "--ports", "auto", env={**SETTINGS, **given, **settings}) as dev,
        httpx2.Client(base_url=dev.info["api_url"], timeout=40) as http,
        httpx2.Client(base_url=dev.info["sandbox_url"], timeout=40) as sandbox,
    ):
        buyer = Buyer("Ada", http, sandbox)
        buyer.register()
        show = roomy_show(http)
        seatmap = http.get(show["seatmap_url"], follow_redirects=True).json()
        town = Town(dev, buyer, show, [seat["label"] for seat in seatmap["seats"]])
        yield town
        town.pool.shutdown(cancel_futures=True)
    wait_for(lambda: not dev.left())


def roomy_show(http: httpx2.Client, *, but: Collection[str] = ()) -> Json:
    """The emptiest show of the catalogue, ``but`` for these, that is on sale for long."""
    shows = [
        show
        for movie in http.get("/api/movies", params={"limit": 20}).json()["items"]
        for at in http.get(f"/api/shows/{movie['id']}").json()["theatres"]
        for show in at["shows"]
        if show["status"] == "on_sale" and show["id"] not in but
    ]
    # Late in the fortnight: sales must not close while the tests run.
    latest = sorted(shows, key=lambda show: str(show["starts_at"]))[len(shows) // 2 :]
    return max(latest, key=lambda show: int(show["availability"]["available"]))
