"""Who asks for tasks is heard at whichever part of the queue it waits."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueRequest
from temporalio.client import Client

from infra import temporal_polls
from infra.temporal_polls import are_polled
from tests.helpers.eventually import eventually

# The server spreads them over the four parts that a queue has.
WORKERS = 16


async def test_each_of_many_workers_is_heard(
    temporal: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = f"parts-{uuid4()}"
    kind = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    monkeypatch.setattr(temporal_polls, "QUEUES", ((queue, kind),))
    owners = [f"{pid}@here" for pid in range(WORKERS)]
    assert not await are_polled(temporal, owners[0])

    def poll(owner: str) -> asyncio.Future[object]:
        request = PollActivityTaskQueueRequest(
            namespace=temporal.namespace, task_queue=TaskQueue(name=queue), identity=owner
        )
        return asyncio.ensure_future(temporal.workflow_service.poll_activity_task_queue(request))

    async def are_heard() -> bool:
        return all([await are_polled(temporal, owner) for owner in owners])

    polls = [poll(owner) for owner in owners]
    try:
        await eventually(are_heard, seconds=20)
        assert await are_polled(temporal, "here"), "the host of any worker"
        assert not await are_polled(temporal, "elsewhere")
    finally:
        for one in polls:
            one.cancel()
        await asyncio.wait(polls)
