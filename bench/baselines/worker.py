"""The baseline's worker process: the same options as ours where they matter."""

from __future__ import annotations

import asyncio

import uvloop
from temporalio.worker import PollerBehaviorSimpleMaximum, UnsandboxedWorkflowRunner, Worker

from bench.baselines.workflows import QUEUE, BareTask, BareUpdate
from infra.settings import Settings
from infra.temporal import connect


async def main() -> None:
    client = await connect(Settings())
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[BareTask, BareUpdate],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_tasks=20,
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(maximum=8),
        nonsticky_to_sticky_poll_ratio=0.5,
    ):
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
