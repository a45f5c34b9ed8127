"""Chain the audit log's new entries, so that none can be changed or removed unnoticed."""

from __future__ import annotations

from typing import Protocol

import structlog

log = structlog.get_logger(__name__)
BATCH = 500
REST_SECONDS = 2.0


class AuditSeals(Protocol):
    async def seal(self) -> tuple[int, int, bytes]:
        """Seal what has no seal yet, up to a batch; how many, and the chain's last link."""
        ...


class AuditSealLoop:
    """Of any number of these, one seals at a time."""

    def __init__(self, seals: AuditSeals) -> None:
        self._seals = seals

    async def one_pass(self) -> int:
        sealed, sequence, link = await self._seals.seal()
        if sealed:
            # Logs go elsewhere: who cuts the chain's end off cannot take this back.
            log.info("audit_sealed", entries=sealed, sequence=sequence, hash=link.hex())
        return sealed
