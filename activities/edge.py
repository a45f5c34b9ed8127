"""The edge between activities and the rest: ids on every log line, domain errors named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from temporalio.exceptions import ApplicationError

from domain.errors import SeatholdError, Unavailable


@asynccontextmanager
async def edge(booking_id: str, request_id: str | None) -> AsyncIterator[None]:
    """Bind the ids; a refusal that no repeat can mend ends the retries under its code.

    Raises:
        ApplicationError: typed by the domain error's code; anything else propagates, is retried.
    """
    with structlog.contextvars.bound_contextvars(booking_id=booking_id, request_id=request_id):
        try:
            yield
        except Unavailable:
            raise
        except SeatholdError as error:
            raise ApplicationError(error.detail, type=error.code, non_retryable=True) from error
