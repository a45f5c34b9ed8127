"""How workflows run the steps of our own database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from temporalio import workflow
from temporalio.exceptions import FailureError

from workflows import policies

Step = Callable[..., Awaitable[Any]]


async def locally(step: Step, message: object) -> Any:
    """Within the workflow task: cheap, and given up after a few seconds."""
    return await workflow.execute_local_activity_method(step, message, **policies.LOCAL_STEP)


async def durably(step: Step, message: object) -> Any:
    """For as long as it takes."""
    return await workflow.execute_activity_method(step, message, **policies.DURABLE_STEP)


async def surely(step: Step, message: object) -> Any:
    """Locally first, for it is cheap; then for as long as it takes."""
    try:
        return await locally(step, message)
    except FailureError:
        return await durably(step, message)
