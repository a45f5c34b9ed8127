"""Who is told nothing more: endpoints are disabled here, and here it says whose may hear."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text

from domain.case import CaseKind
from domain.partner import DisabledReason
from infra.postgres.case import PostgresCases
from infra.postgres.database import Session

# Whether the owner of ``endpoint`` may hear what partners are told: as ``GET /api/partner/events``
# in api/policy.py. Judged anew for each try, for a key also ends by itself, and what it made stays.
# The index of the staff is of whoever is no user.
HEARS = """
endpoint.owner_id IN (
    SELECT id FROM users
    WHERE role <> 'user' AND role IN ('owner', 'manager') AND blocked_at IS NULL
    UNION ALL
    SELECT users.id FROM api_keys JOIN users ON users.id = account_id
    WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
      AND 'events:read' = ANY (scopes)
      AND role = 'user' AND blocked_at IS NULL AND erased_at IS NULL
)
"""
UNHEARING = text(f"""
SELECT id FROM partner_endpoints AS endpoint WHERE state = 'active' AND NOT {HEARS} ORDER BY id
""")  # noqa: S608  # nosec B608

DISABLE = text("""
UPDATE partner_endpoints
SET state = 'disabled', disabled_reason = :reason, disabled_at = clock_timestamp(),
    version = version + 1, updated_at = clock_timestamp()
WHERE id = :id AND state = 'active'
RETURNING version
""")
SKIP = text("""
UPDATE partner_deliveries
SET state = 'skipped', reason = 'endpoint_disabled', next_attempt_at = NULL, sending = false
WHERE endpoint_id = :id AND state = 'pending'
""")
WHY = {
    DisabledReason.GONE: "it answered 410",
    DisabledReason.FAILING: "it took nothing for three days",
    DisabledReason.NO_ACCESS: "its account is blocked, or has neither a role nor a key to hear it",
}


async def disable(session: Session, endpoint_id: UUID, reason: DisabledReason) -> None:
    """Nothing more goes there, and a person is told; no owner can miss it who looks."""
    row = await session.one(DISABLE, id=endpoint_id, reason=reason.value)
    if row is None:
        return
    session.later(SKIP, id=endpoint_id)
    PostgresCases(session).open(
        CaseKind.PARTNER_ENDPOINT,
        dedupe=f"partner_endpoint:{endpoint_id}:{row.version}",
        summary=f"The partner endpoint {endpoint_id} was disabled: {WHY[reason]}. Tell its owner.",
    )


async def disable_unhearing(session: Session) -> None:
    """Before anything is owed: the caller's transaction has the lock of what is."""
    for row in await session.all(UNHEARING):
        await disable(session, row.id, DisabledReason.NO_ACCESS)
