"""Each provider's list against our books, one after the other; one that is away delays no other."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError

from contracts.reconcile import (
    ReconcileContract,
    ReconcileInput,
    ReconcileResult,
    ReconcileStep,
    ReconcileSteps,
)
from workflows import policies


@workflow.defn(name="Reconcile")
class ReconcileWorkflow(ReconcileContract):
    @workflow.run
    async def run(self, input: ReconcileInput) -> list[ReconcileResult]:
        results: list[ReconcileResult] = []
        for provider in input.providers:
            workflow.set_current_details(f"Comparing with {provider}.")
            results.append(await self._compare(provider))
        workflow.set_current_details("  \n".join(map(_story, results)))
        return results

    async def _compare(self, provider: str) -> ReconcileResult:
        try:
            result: ReconcileResult = await workflow.execute_activity_method(
                ReconcileSteps.reconcile,
                ReconcileStep(provider),
                summary=provider,
                **policies.RECONCILE,
            )
        except ActivityError:
            workflow.logger.error("reconcile_failed: %s", provider)
            # The next run begins where the last finished one did, so nothing is left out.
            return ReconcileResult(provider, finished=False)
        return result


def _story(result: ReconcileResult) -> str:
    if not result.finished:
        return f"{result.provider} did not answer; the next run begins at the same point."
    return (
        f"{result.provider}: {result.compared} compared, {result.repaired} repaired,"
        f" {result.left} left to people."
    )
