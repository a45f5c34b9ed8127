"""Without containers, but with their commands and environment: it starts, sells and stops."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx2
import psycopg
import pytest

from infra.settings import Settings
from seathold.demo import PASSWORD, Buyer
from seathold.stack import temporal
from seathold.stack.process import Child
from tests.compose.native import Native
from tests.compose.stack_file import ROOT, services
from tests.fixtures import servers
from tests.helpers.eventually import eventually
from tests.sandbox.process import free_port

READY_SECONDS = 60
# One for each process of a parallel run: each starts services of its own.
NAME = f"compose_{os.environ.get('PYTEST_XDIST_WORKER', 'master')}"
# uvicorn shuts down in order and then ends by the signal it got, as a shell expects.
ENDED_WELL = (0, -signal.SIGTERM)


@dataclass(frozen=True)
class Ports:
    api: int
    sandbox: int
    mail: int
    smtp: int
    codec: int


@pytest.fixture(scope="module")
def local() -> Ports:
    return Ports(*(free_port() for _ in range(5)))


@pytest.fixture(scope="module")
def native(settings: Settings, local: Ports, tmp_path_factory: pytest.TempPathFactory) -> Native:
    """On an empty database and in a namespace of their own: what they sell is nobody else's."""
    server = os.environ[servers.DATABASE]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)".encode())
        connection.execute(f"CREATE DATABASE {NAME} OWNER seathold_owner".encode())
    found = services({"TEMPORAL_NAMESPACE": NAME})
    database_url = found["api"]["environment"]["SEATHOLD_DATABASE_URL"]
    owner_url = found["migrate"]["environment"]["SEATHOLD_MIGRATE_DATABASE_URL"]
    instead = {
        database_url: servers.as_app(servers.with_database(server, NAME)),
        owner_url: servers.as_owner(servers.with_database(server, NAME)),
        "redis://redis:6379/0": settings.redis_url.get_secret_value(),
        "temporal:7233": os.environ["TEMPORAL_ADDRESS"],
        **{f"//{name}:": "//127.0.0.1:" for name in ("api", "sandbox", "mail")},
        "0.0.0.0": "127.0.0.1",
        "/data/": f"{tmp_path_factory.mktemp('data')}/",
        "8081": str(local.api),
        "8090": str(local.sandbox),
        "8025": str(local.mail),
        "8026": str(local.smtp),
        "8088": str(local.codec),
    }
    return Native(found, instead, tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="module")
def namespace(native: Native, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Made by the script of the `temporal-namespace` service, twice as after a restart."""
    programs = tmp_path_factory.mktemp("bin")
    (programs / "temporal").symlink_to(temporal.find(lambda _: None))
    environment = native.environment("temporal-namespace")
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    script = ROOT / "docker" / "temporal" / "namespace.sh"
    for _ in range(2):
        subprocess.run(
            ["sh", str(script)], env=environment, check=True, capture_output=True, timeout=60
        )


@pytest.fixture(scope="module")
def running(native: Native, namespace: None) -> Iterator[dict[str, Child]]:
    """Every long-running service of ours, in the order that the file's conditions ask for."""
    children: dict[str, Child] = {}
    with ExitStack() as stack:
        run_once(native, "migrate")
        run_once(native, "seed")
        for name in ("mail", "sandbox", "worker", "api", "codec"):
            children[name] = native.start(name)
            stack.callback(children[name].stop)
            children[name].wait_ready(seconds=READY_SECONDS)
        yield children


def run_once(native: Native, name: str) -> None:
    child = native.start(name)
    assert child.wait(seconds=READY_SECONDS) == 0, child.last_words()


@contextmanager
def a_buyer(local: Ports) -> Iterator[Buyer]:
    with (
        httpx2.Client(base_url=f"http://127.0.0.1:{local.api}", timeout=40) as http,
        httpx2.Client(base_url=f"http://127.0.0.1:{local.sandbox}", timeout=40) as sandbox,
    ):
        buyer = Buyer("Ada", http, sandbox)
        buyer.register()
        yield buyer


def order(buyer: Buyer) -> tuple[dict[str, object], list[str]]:
    """A show of the seeded catalogue and two seats side by side."""
    for movie in buyer.http.get("/api/movies").json()["items"]:
        for at in buyer.http.get(f"/api/shows/{movie['id']}").json()["theatres"]:
            for show in at["shows"]:
                seatmap = buyer.http.get(show["seatmap_url"], follow_redirects=True).json()
                return show, seatmap["rows"][0]["labels"][:2]
    raise AssertionError("nothing was seeded")


@pytest.mark.timeout(240)
class TestNativeStart:
    async def test_a_booking_is_paid_confirmed_and_mailed(
        self, running: dict[str, Child], local: Ports
    ) -> None:
        with a_buyer(local) as buyer:
            booking = buyer.hold(*order(buyer))
            buyer.pay(buyer.checkout(booking), "captured")
            assert buyer.confirm(booking).json()["state"] == "confirmed"

        async def mailed() -> bool:
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{local.mail}") as mail:
                found = await mail.get("/api/messages", params={"to": buyer.user["email"]})
            return "-confirmation-" in found.text

        await eventually(mailed, message="no mail of the confirmation")

    def test_the_codec_server_asks_the_api_who_may_read(
        self, running: dict[str, Child], local: Ports
    ) -> None:
        here = f"http://127.0.0.1:{local.codec}"
        with a_buyer(local) as buyer, httpx2.Client(base_url=here, timeout=40) as codec:
            form = {"email": buyer.user["email"], "password": PASSWORD}
            refused = codec.post("/login", data=form, headers={"Origin": here})
            assert refused.status_code == 403
            assert "Your role does not read workflows." in refused.text

    def test_a_repeated_migration_and_seeding_do_no_harm(
        self, running: dict[str, Child], native: Native
    ) -> None:
        run_once(native, "migrate")
        run_once(native, "seed")

    def test_each_stops_in_its_time_when_told(
        self, running: dict[str, Child], native: Native
    ) -> None:
        for name, child in reversed(running.items()):
            assert child.is_running, child.last_words()
            child.ask_to_end()
            grace = int(services()[name].get("stop_grace_period", "10s").removesuffix("s"))
            assert child.wait(seconds=grace) in ENDED_WELL, child.last_words()
            # Temporal remembers a poller for some minutes; the others are gone at once.
            assert name == "worker" or not native.is_healthy(name)
