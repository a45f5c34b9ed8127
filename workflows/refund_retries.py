"""Send a refund again, later each time, while the provider says that it failed (P8)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from temporalio import workflow

from domain.refund import RETRY
from domain.steps import LatePaymentResult, RefundResult
from workflows import policies

Result = TypeVar("Result", LatePaymentResult, RefundResult)


async def until_ended(first: Result, send: Callable[[], Awaitable[Result]]) -> Result:
    """The end of a refund whose first sending came to ``first``.

    PostgreSQL counts the tries and ends them; the waits are ``policies.REFUND_RETRY_WAITS``, the
    last of them for as long as it takes.
    """
    result, waits = first, list(policies.REFUND_RETRY_WAITS)
    while result.outcome == RETRY:
        wait = waits.pop(0) if len(waits) > 1 else waits[0]
        workflow.set_current_details(f"The refund failed at the bank; it is sent again in {wait}.")
        await workflow.sleep(wait, summary="until the refund is sent again")
        workflow.set_current_details("Sending the refund again.")
        result = await send()
    return result
