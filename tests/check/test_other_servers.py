"""L2 on a real Temporal server and E10 on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import pytest
import redis
from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from infra.settings import Settings
from tests.check.builders import SHOW, Connection, id_of
from tests.check.conftest import Checker

OWN_REDIS_DATABASE = "9"
OPEN = [id_of(name) for name in ("held", "expiring", "cancelling")]


@pytest.fixture(scope="module")
async def namespace(temporal: Client) -> Client:
    """A namespace with no workflows but this module's."""
    name, target = f"check-{uuid4().hex[:8]}", temporal.service_client.config.target_host
    retention = Duration(seconds=24 * 3600)
    await temporal.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=retention)
    )
    client = await Client.connect(target, namespace=name)
    for _ in range(300):
        if await is_known(client):
            return client
        await asyncio.sleep(0.1)
    raise TimeoutError(f"the server does not know namespace {name}")


async def is_known(client: Client) -> bool:
    """Whether every part of the server has heard of the namespace."""
    try:
        await start(client, UUID(int=0))
    except RPCError:
        return False
    await stop(client, UUID(int=0))
    return True


async def start(client: Client, booking: UUID) -> None:
    """No worker serves the queue: the workflow stays running."""
    await client.start_workflow(
        "Booking",
        id=f"booking-{booking}",
        task_queue="nobody",
        execution_timeout=timedelta(minutes=5),
    )


async def stop(client: Client, booking: UUID) -> None:
    await client.get_workflow_handle(f"booking-{booking}").terminate()


async def check(checker: Checker, client: Client) -> None:
    address = client.service_client.config.target_host
    await asyncio.to_thread(
        checker.run,
        TEMPORAL_ADDRESS=address,
        TEMPORAL_NAMESPACE=client.namespace,
        SEATHOLD_CHECK_SETTLE_SECONDS="2",
    )


async def test_open_bookings_and_running_workflows_are_one_set(
    namespace: Client, checker: Checker
) -> None:
    for booking in OPEN:
        await start(namespace, booking)
    await check(checker, namespace)
    assert "L2" in checker.with_status("ok")

    await stop(namespace, OPEN[0])
    await check(checker, namespace)
    assert checker.exit_code == 1
    assert checker.verdicts["L2"]["examples"] == [
        f"booking-{OPEN[0]}: an open booking without a running workflow"
    ]

    stray = uuid4()
    await start(namespace, OPEN[0])
    await start(namespace, stray)
    await check(checker, namespace)
    assert checker.verdicts["L2"]["examples"] == [
        f"booking-{stray}: a running workflow without an open booking"
    ]


@pytest.fixture
def marks(settings: Settings) -> Iterator[tuple[str, redis.Redis]]:
    """A numbered database of the server that nobody else uses, with the town's marks in it."""
    url = settings.redis_url.get_secret_value()
    own = urlunsplit(urlsplit(url)._replace(path=f"/{OWN_REDIS_DATABASE}"))
    with redis.Redis.from_url(own) as client:
        client.flushdb()
        client.set(f"{{show:{SHOW}}}:loaded", "1")
        for label in ("A1", "A2"):
            client.set(key(label), f"sold:{id_of('confirmed')}")
        client.set(key("A5"), str(id_of("held")), px=60_000)
        client.set(key("A12"), "blocked")
        yield own, client
        client.flushdb()


def key(label: str) -> str:
    return f"{{show:{SHOW}}}:seat:{label}"


def test_marks_that_agree_are_no_breach(marks: tuple[str, redis.Redis], checker: Checker) -> None:
    checker.run(SEATHOLD_REDIS_URL=marks[0])
    assert checker.exit_code == 0
    assert "E10" in checker.with_status("ok")


def test_sold_seat_that_looks_free_is_found(
    marks: tuple[str, redis.Redis], checker: Checker
) -> None:
    marks[1].delete(key("A1"))
    checker.run(SEATHOLD_REDIS_URL=marks[0])
    assert checker.exit_code == 1
    assert checker.with_status("BREACH") == {"E10"}
    assert "A1" in checker.verdicts["E10"]["examples"][0]


def test_mark_of_a_sale_that_never_was_is_found(
    marks: tuple[str, redis.Redis], checker: Checker
) -> None:
    marks[1].set(key("A3"), f"sold:{id_of('lapsed')}")
    checker.run(SEATHOLD_REDIS_URL=marks[0])
    assert checker.with_status("BREACH") == {"E10"}


def test_show_that_is_not_loaded_owes_no_marks(
    marks: tuple[str, redis.Redis], checker: Checker, db: Connection
) -> None:
    marks[1].flushdb()
    checker.run(SEATHOLD_REDIS_URL=marks[0])
    assert "E10" in checker.with_status("ok")
