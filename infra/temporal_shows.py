"""The runs of cancelled shows behind their port."""

from __future__ import annotations

from uuid import UUID

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy

from contracts.booking import BOOKING_QUEUE
from contracts.refund import RefundContract, refund_workflow_id
from contracts.show_cancel import ShowCancelContract, show_cancel_workflow_id
from domain.show_cancel import ShowCancelInput
from domain.steps import RefundInput
from infra.temporal import RPC_TIMEOUT, TASK_TIMEOUT, answer


class TemporalShowProcess:
    """See ``services.show_cancel.ShowProcess``."""

    def __init__(self, client: Client, *, refunds_per_second: float) -> None:
        self._client = client
        self._rate = refunds_per_second

    async def cancel_show(
        self, show_id: UUID, request_id: str | None, *, paused: str | None = None
    ) -> None:
        input = ShowCancelInput(str(show_id), self._rate, request_id, paused=paused)
        await answer(
            self._client.start_workflow(
                ShowCancelContract.run,
                input,
                id=show_cancel_workflow_id(str(show_id)),
                task_queue=BOOKING_QUEUE,
                task_timeout=TASK_TIMEOUT,
                static_summary=f"Cancel show {show_id}",
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                rpc_timeout=RPC_TIMEOUT,
            )
        )

    async def refund_again(self, booking_id: UUID, number: int, request_id: str | None) -> None:
        await answer(
            self._client.start_workflow(
                RefundContract.run,
                RefundInput(str(booking_id), number, request_id),
                id=refund_workflow_id(str(booking_id), number),
                task_queue=BOOKING_QUEUE,
                task_timeout=TASK_TIMEOUT,
                static_summary=f"Refund {number} of booking {booking_id}",
                start_signal="ask_again",
                rpc_timeout=RPC_TIMEOUT,
            )
        )
