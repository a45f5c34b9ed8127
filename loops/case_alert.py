"""A case that a person has not resolved within a day raises its voice, once an hour."""

from __future__ import annotations

import structlog

from domain.limits import CASE_ALERT_EVERY_SECONDS, CASE_SECONDS
from services.case import WaitingCases

log = structlog.get_logger(__name__)
REST_SECONDS = 60.0


class CaseAlertLoop:
    """Of any number of these, one speaks of a case."""

    def __init__(self, cases: WaitingCases) -> None:
        self._cases = cases

    async def one_pass(self) -> int:
        """Always answers 0: the rest between two passes is its pace."""
        for case in await self._cases.take(
            seconds=CASE_SECONDS, every_seconds=CASE_ALERT_EVERY_SECONDS
        ):
            log.error(
                "case_waits",
                case_id=str(case.id),
                kind=case.kind,
                status=case.status,
                booking_id=str(case.booking_id) if case.booking_id else None,
                hours=int(case.age_seconds // 3600),
            )
        return 0
