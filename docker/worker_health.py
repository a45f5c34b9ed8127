"""Exit 0 when Temporal sees a worker of this host polling each of our task queues."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from contracts.booking import BOOKING_QUEUE, PAYMENT_QUEUE
from infra.settings import Settings
from infra.temporal import connect

QUEUES = (
    (BOOKING_QUEUE, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW),
    (PAYMENT_QUEUE, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY),
)
# A long poll is renewed about once a minute; three missed ones are no accident. Temporal itself
# forgets a poller after five minutes.
FRESH_SECONDS = 180.0


async def is_polled(client: Client, queue: str, kind: TaskQueueType.ValueType, owner: str) -> bool:
    """Whether a poller whose identity ends in ``owner`` was seen lately on ``queue``."""
    answer = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
        )
    )
    return any(
        poller.identity.endswith(owner)
        and time.time() - poller.last_access_time.ToSeconds() <= FRESH_SECONDS
        for poller in answer.pollers
    )


async def main(owner: str) -> int:
    try:
        client = await connect(Settings())
        polled = [await is_polled(client, queue, kind, owner) for queue, kind in QUEUES]
    except (RPCError, RuntimeError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - read by `docker inspect`
        return 1
    return 0 if all(polled) else 1


if __name__ == "__main__":
    # An SDK worker calls itself `<pid>@<host>`; inside a container the host name is its own.
    code = asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else f"@{socket.gethostname()}"))
    sys.stderr.flush()
    # The SDK's threads still run while Python takes itself apart; about one exit in forty crashed.
    os._exit(code)
