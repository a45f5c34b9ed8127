"""Who asks Temporal for our tasks, as Temporal itself sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress

from temporalio.api.enums.v1 import DescribeTaskQueueMode, TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from contracts.booking import BOOKING_QUEUE, PAYMENT_QUEUE

QUEUES = (
    (BOOKING_QUEUE, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW),
    (PAYMENT_QUEUE, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY),
)
# A long poll is renewed about once a minute; three missed ones are no accident. Temporal itself
# forgets a poller after five minutes.
FRESH_SECONDS = 180.0
LOOK_SECONDS = 0.05


async def are_polled(client: Client, owner: str) -> bool:
    """Whether each of our queues was lately asked for tasks by ``owner``.

    That is a worker, ``<pid>@<host>`` as the SDK names it, or a host with any worker.
    """
    return all([await _is_polled(client, queue, kind, owner) for queue, kind in QUEUES])


async def wait_polled(client: Client) -> None:
    """Return once Temporal has heard a worker of this client ask on each of our queues."""
    polled = False
    while not polled:
        # Whatever ails the server, the worker asks it on and on.
        with suppress(RPCError):
            polled = await are_polled(client, client.identity)
        if not polled:
            await asyncio.sleep(LOOK_SECONDS)


async def _is_polled(client: Client, queue: str, kind: TaskQueueType.ValueType, owner: str) -> bool:
    name = TaskQueue(name=queue)
    ask = client.workflow_service.describe_task_queue
    first = await ask(
        DescribeTaskQueueRequest(namespace=client.namespace, task_queue=name, task_queue_type=kind)
    )
    if _are_of(owner, first.pollers):
        return True
    # That was the first part of the queue, and a poll may wait at any: all of a worker's at others
    # for as long as a minute. What is said of them all is up to five seconds old.
    every = await ask(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=name,
            api_mode=DescribeTaskQueueMode.DESCRIBE_TASK_QUEUE_MODE_ENHANCED,
            task_queue_types=[kind],
            report_pollers=True,
        )
    )
    return any(
        _are_of(owner, version.types_info[kind].pollers) for version in every.versions_info.values()
    )


def _are_of(owner: str, pollers: Iterable[PollerInfo]) -> bool:
    return any(
        f"@{poller.identity}".endswith(f"@{owner}")
        and time.time() - poller.last_access_time.ToSeconds() <= FRESH_SECONDS
        for poller in pollers
    )
