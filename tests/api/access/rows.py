"""How the matrix calls each operation, and who may: written from the requirement, not the policy.

Give a new operation one row. Its path parameters are filled by ``world.py``: one's own thing, that
of another account, and one that does not exist. Where a command would move money or seats, send
what it refuses at its own door (a body it cannot take, a booking that has ended): the matrix asks
who gets that far.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

PUBLIC, ACCOUNT, OWN, STAFF, PARTNER = "public", "account", "own", "staff", "partner"
SERVES = ("owner", "manager", "box_office")
RUNS = ("owner", "manager")
ALL = ("owner", "manager", "box_office", "scanner", "auditor")
READ, WRITE, ENDPOINTS = "bookings:read", "bookings:write", "endpoints:write"

# Not in the document: they are for people.
PAGES = (
    *("/account/verify", "/account/reset", "/account/page.css", "/account/page.js", "/back"),
    *("/docs", "/docs/start.js", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"),
)
Body = Any
# Stands in a body for the id of the thing that the call is about.
ID = "<id>"


@dataclass(frozen=True)
class Row:
    """
    Args:
        who: ``public``; ``account``: any; ``own``: whom the thing belongs to, and ``roles`` for
            anybody's; ``staff``: only ``roles``; ``partner``: these too, each for their own.
        status: to who may, for a thing that there is. ``missing``: for one that there is not.
        scope: what an API key needs; none: no key may.
        body: sent as JSON, with ``ID`` replaced. ``thing``: what ``ID`` is, when it is in no path.
        spends: ends sessions or accounts, so that each call needs a caller of its own.
    """

    who: str
    roles: tuple[str, ...] = ()
    status: int = 200
    missing: int = 404
    scope: str | None = None
    body: Body = None
    thing: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    spends: bool = False

    def filled(self, id_: UUID | str | None) -> Body:
        if isinstance(self.body, dict):
            return {name: str(id_) if it == ID else it for name, it in self.body.items()}
        return self.body


def public(**more: Any) -> Row:
    return Row(PUBLIC, **more)


def account(**more: Any) -> Row:
    return Row(ACCOUNT, **more)


def own(*roles: str, **more: Any) -> Row:
    return Row(OWN, roles, **more)


def staff(*roles: str, **more: Any) -> Row:
    return Row(STAFF, roles, **more)


def partner(*, scope: str = "events:read", **more: Any) -> Row:
    return Row(PARTNER, RUNS, scope=scope, **more)


NOT_YET = 501

ROWS: Mapping[str, Row] = {
    # Bodies that say nothing: these let everybody in, and nobody is to be registered here.
    "POST /api/auth/register": public(status=422, body={}),
    "POST /api/auth/login": public(status=422, body={}),
    "POST /api/auth/refresh": public(status=422, body={}),
    "POST /api/auth/logout": public(status=422, body={}),
    "POST /api/auth/verify-email": public(status=422, body={}),
    "POST /api/auth/password/forgot": public(status=422, body={}),
    "POST /api/auth/password/reset": public(status=422, body={}),
    "GET /api/me": account(),
    "PATCH /api/me": account(body={}),
    # Seats of the buyers' bookings are held no more, and there are other owners.
    "DELETE /api/me": account(status=204, spends=True),
    "POST /api/me/password": account(status=422, body={}),
    "POST /api/me/verify-email": account(status=202),
    "POST /api/me/totp": account(status=422, body={}),
    "POST /api/me/totp/confirm": account(status=422, body={}),
    "POST /api/me/totp/remove": account(status=422, body={}),
    "GET /api/me/export": account(),
    "GET /api/me/sessions": account(),
    "POST /api/me/sessions/end": account(status=422, body={}),
    "GET /api/movies": public(),
    "GET /api/movies/{movie_id}": public(),
    "GET /api/theatres": public(),
    "GET /api/shows/{movie_id}": public(),
    "GET /api/show/{show_id}": public(),
    "GET /api/show/{show_id}/seatmap": public(query="?v=1"),
    "GET /api/show/{show_id}/availability": public(),
    # Nobody streams to a caller in his own process: there is no connection to take over.
    "GET /api/show/{show_id}/availability/stream": public(status=429),
    "POST /api/show/{show_id}/queue": account(status=NOT_YET, missing=NOT_YET),
    "GET /api/queue/{ticket}": public(status=NOT_YET, missing=NOT_YET),
    "GET /api/queue/{ticket}/stream": public(status=NOT_YET, missing=NOT_YET),
    # A seat that no hall has: 422 comes after the show was found.
    "POST /api/booking/reserve": account(
        status=422, scope=WRITE, body={"show_id": ID, "seats": ["NONE"]}, thing="show_id"
    ),
    "POST /api/booking/confirm": own(
        status=409, scope=WRITE, body={"booking_id": ID}, thing="booking_id", query="?wait=0"
    ),
    # The world's bookings are cancelled.
    "POST /api/booking/{booking_id}/extend": own(status=409, scope=WRITE),
    "POST /api/booking/{booking_id}/cancel": own(status=200, scope=WRITE),
    "POST /api/booking/{booking_id}/checkout": own(
        status=409, scope=WRITE, body={"provider": "sandbox"}
    ),
    "POST /api/booking/{booking_id}/offer/accept": own(status=409, scope=WRITE),
    "POST /api/booking/{booking_id}/offer/decline": own(status=409, scope=WRITE),
    "GET /api/booking/{booking_id}": own(*SERVES, "auditor", scope=READ),
    "GET /api/booking/{booking_id}/timeline": own(*SERVES, "auditor", scope=READ),
    "GET /api/booking/user/{user_id}": own(*SERVES, "auditor", scope=READ),
    "GET /api/booking/{booking_id}/refund-quote": own(*SERVES, "auditor", status=409, scope=READ),
    "GET /api/booking/{booking_id}/tickets": own(*SERVES, status=409, scope=READ),
    "GET /api/booking/{booking_id}/tickets.pdf": own(*SERVES, status=NOT_YET, scope=READ),
    "POST /api/booking/{booking_id}/refund": own(*SERVES, status=409, scope=WRITE),
    "GET /api/admin/audit": staff("owner", "auditor"),
    "GET /api/admin/cases": staff(*RUNS, "auditor"),
    "GET /api/admin/cases/{case_id}": staff(*RUNS, "auditor"),
    # Without If-Match, or with one that is out of date.
    "POST /api/admin/cases/{case_id}/assign": staff(
        *RUNS, status=412, headers={"If-Match": '"999"'}
    ),
    "POST /api/admin/cases/{case_id}/resolve": staff(
        *RUNS, status=412, headers={"If-Match": '"999"'}, body={"reason": "nothing"}
    ),
    "POST /api/admin/shows/{show_id}/cancel": staff(
        *RUNS, body={"reason": "only asking", "dry_run": True}
    ),
    # It is not cancelled.
    "GET /api/admin/shows/{show_id}/cancel": staff(*SERVES, "auditor", status=404),
    "GET /api/admin/show/{show_id}/availability": staff(*SERVES, "auditor"),
    "GET /api/admin/reports/sales": staff(*RUNS, "auditor"),
    "GET /api/admin/reports/demand": staff(*RUNS, "auditor"),
    "GET /api/admin/staff": staff("owner", "auditor"),
    "POST /api/admin/staff": staff("owner", status=422, body={}),
    "GET /api/admin/staff/{staff_id}": staff("owner", "auditor"),
    # They are a scanner, and stay one.
    "POST /api/admin/staff/{staff_id}/role": staff(
        "owner", body={"role": "scanner", "reason": "x"}
    ),
    "POST /api/admin/staff/{staff_id}/block": staff("owner", status=422, missing=422, body={}),
    "POST /api/admin/staff/{staff_id}/unblock": staff("owner", body={"reason": "x"}),
    "GET /api/admin/api-keys": staff("owner", "auditor"),
    "POST /api/admin/api-keys": staff("owner", status=422, body={}),
    "GET /api/admin/api-keys/{key_id}": staff("owner", "auditor"),
    # The world's key to look at is revoked.
    "POST /api/admin/api-keys/{key_id}/rotate": staff("owner", status=404, body={"reason": "x"}),
    "DELETE /api/admin/api-keys/{key_id}": staff("owner", status=204, query="?reason=x"),
    # The world's endpoints are disabled.
    "GET /api/partner/endpoints": partner(),
    "POST /api/partner/endpoints": partner(scope=ENDPOINTS, status=422, body={}),
    "GET /api/partner/endpoints/{endpoint_id}": partner(),
    "PATCH /api/partner/endpoints/{endpoint_id}": partner(
        scope=ENDPOINTS, body={"description": "x"}, headers={"If-Match": "*"}
    ),
    "DELETE /api/partner/endpoints/{endpoint_id}": partner(scope=ENDPOINTS, status=204),
    "POST /api/partner/endpoints/{endpoint_id}/rotate": partner(scope=ENDPOINTS),
    "POST /api/partner/endpoints/{endpoint_id}/test": partner(scope=ENDPOINTS, status=409),
    "POST /api/partner/endpoints/{endpoint_id}/replay": partner(
        scope=ENDPOINTS, status=409, body={"since": "2026-11-24T09:00:00Z"}
    ),
    "GET /api/partner/deliveries": partner(),
    "GET /api/partner/deliveries/{delivery_id}": partner(),
    "POST /api/partner/deliveries/{delivery_id}/replay": partner(scope=ENDPOINTS, status=409),
    "GET /api/partner/events": partner(),
    **{
        f"{method} /api/admin/{{rest:path}}": staff(*ALL, status=NOT_YET, missing=NOT_YET)
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    },
    # Nothing of a signed event is there.
    "POST /api/webhooks/{provider}": public(status=400, body={}),
    "GET /healthz": public(),
    "GET /readyz": public(),
    "GET /metrics": public(),
    **{f"GET {path}": public() for path in PAGES},
    "GET /": public(status=307),
    "GET /openapi.json": public(),
}
