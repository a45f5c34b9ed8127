"""The log of what people with power did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import text

from infra.postgres.database import Session

NOTE = text("""
INSERT INTO audit_log (actor, action, target, reason, details, request_id)
VALUES (:actor, :action, :target, :reason, CAST(:details AS jsonb), :request_id)
""")


class PostgresAudit:
    """See ``services.ports.Audit``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def note(
        self,
        action: str,
        *,
        target: str,
        actor: str,
        reason: str | None = None,
        details: Mapping[str, Any] | None = None,
        request_id: str | None = None,
    ) -> None:
        self._session.later(
            NOTE,
            action=action,
            target=target,
            actor=actor,
            reason=reason,
            details=orjson.dumps(details).decode() if details is not None else None,
            request_id=request_id,
        )
