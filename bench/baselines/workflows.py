"""The least a workflow can do: one task; and one task that answers an update."""

from __future__ import annotations

from temporalio import workflow

QUEUE = "bench-baseline"


@workflow.defn(name="BareTask")
class BareTask:
    @workflow.run
    async def run(self) -> str:
        return "done"


@workflow.defn(name="BareUpdate")
class BareUpdate:
    def __init__(self) -> None:
        self._asked = False

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self._asked)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return "done"

    @workflow.update
    async def ask(self) -> str:
        self._asked = True
        return "held"
