"""Who may call what: one table, which the guard reads and ``seathold policy`` prints.

A route without a line here does not start, nor a line without a route. To add a route:

1. write ``"METHOD /its/path"`` below, as the route has it, with one of

   =====================  =========================================================================
   ``public()``           everybody, logged in or not
   ``account()``          whoever is logged in; the route knows only what is the caller's own
   ``own(*roles)``        the account a thing belongs to, and these roles for anybody's
   ``staff(*roles)``      these roles
   ``partner(*roles)``    these roles, and API keys that may read what partners are told
   =====================  =========================================================================

   with ``scope=`` where a partner's API key may call it too. Without a scope no key may;
2. in an ``own`` route, answer 404 for another's thing exactly as for none, unless
   ``principal.sees_all`` (the guard sets it for the roles named);
3. give the operation a row in ``tests/api/access/rows.py``: the matrix calls it as everybody.

Least privilege: an auditor only reads, a scanner may do nothing until there is a check-in, the box
office serves buyers, a manager runs shows and decides about money, an owner gives and takes these
powers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from domain.access import Scope
from domain.user import Role

READS = Scope.BOOKINGS_READ
WRITES = Scope.BOOKINGS_WRITE
STAFF = frozenset(Role) - {Role.USER}


class Who(StrEnum):
    PUBLIC = "everybody"
    ACCOUNT = "any account"
    OWN = "its own account"
    STAFF = "staff"


@dataclass(frozen=True, slots=True)
class Rule:
    """``roles``: of staff, beside what ``who`` says. ``scope``: what an API key needs."""

    who: Who
    roles: frozenset[Role] = frozenset()
    scope: Scope | None = None


def public() -> Rule:
    return Rule(Who.PUBLIC)


def account(*, scope: Scope | None = None) -> Rule:
    return Rule(Who.ACCOUNT, scope=scope)


def own(*roles: Role, scope: Scope | None = None) -> Rule:
    return Rule(Who.OWN, frozenset(roles), scope)


def staff(*roles: Role) -> Rule:
    return Rule(Who.STAFF, frozenset(roles))


def partner(*roles: Role, scope: Scope = Scope.EVENTS_READ) -> Rule:
    return Rule(Who.STAFF, frozenset(roles), scope)


BUYER = own(scope=WRITES)
SERVES = (Role.OWNER, Role.MANAGER, Role.BOX_OFFICE)
RUNS = (Role.OWNER, Role.MANAGER)

POLICY: Mapping[str, Rule] = MappingProxyType(
    {
        # Accounts and sessions
        "POST /api/auth/register": public(),
        "POST /api/auth/login": public(),
        "POST /api/auth/refresh": public(),
        "POST /api/auth/logout": public(),
        # A mailed code is the credential
        "POST /api/auth/verify-email": public(),
        "POST /api/auth/password/forgot": public(),
        "POST /api/auth/password/reset": public(),
        "GET /api/me": account(),
        "PATCH /api/me": account(),
        "DELETE /api/me": account(),
        "GET /api/me/sessions": account(),
        "POST /api/me/sessions/end": account(),
        "POST /api/me/password": account(),
        "POST /api/me/verify-email": account(),
        # Also for staff who have no second factor yet: here they get one
        "POST /api/me/totp": account(),
        "POST /api/me/totp/confirm": account(),
        "POST /api/me/totp/remove": account(),
        "GET /api/me/export": account(),
        # Catalogue
        "GET /api/movies": public(),
        "GET /api/movies/{movie_id}": public(),
        "GET /api/theatres": public(),
        "GET /api/shows/{movie_id}": public(),
        "GET /api/show/{show_id}": public(),
        "GET /api/show/{show_id}/seatmap": public(),
        "GET /api/show/{show_id}/availability": public(),
        "GET /api/show/{show_id}/availability/stream": public(),
        # The waiting room: its ticket is the credential
        "POST /api/show/{show_id}/queue": account(),
        "GET /api/queue/{ticket}": public(),
        "GET /api/queue/{ticket}/stream": public(),
        # Bookings
        "POST /api/booking/reserve": account(scope=WRITES),
        "POST /api/booking/confirm": BUYER,
        "POST /api/booking/{booking_id}/extend": BUYER,
        "POST /api/booking/{booking_id}/cancel": BUYER,
        "POST /api/booking/{booking_id}/checkout": BUYER,
        "POST /api/booking/{booking_id}/offer/accept": BUYER,
        "POST /api/booking/{booking_id}/offer/decline": BUYER,
        "GET /api/booking/{booking_id}": own(*SERVES, Role.AUDITOR, scope=READS),
        "GET /api/booking/{booking_id}/timeline": own(*SERVES, Role.AUDITOR, scope=READS),
        "GET /api/booking/user/{user_id}": own(*SERVES, Role.AUDITOR, scope=READS),
        "GET /api/booking/{booking_id}/refund-quote": own(*SERVES, Role.AUDITOR, scope=READS),
        # A ticket lets its bearer in: reading one is more than reading
        "GET /api/booking/{booking_id}/tickets": own(*SERVES, scope=READS),
        "GET /api/booking/{booking_id}/tickets.pdf": own(*SERVES, scope=READS),
        "POST /api/booking/{booking_id}/refund": own(*SERVES, scope=WRITES),
        # Staff
        "GET /api/admin/audit": staff(Role.OWNER, Role.AUDITOR),
        "GET /api/admin/cases": staff(*RUNS, Role.AUDITOR),
        "GET /api/admin/cases/{case_id}": staff(*RUNS, Role.AUDITOR),
        "POST /api/admin/cases/{case_id}/assign": staff(*RUNS),
        "POST /api/admin/cases/{case_id}/resolve": staff(*RUNS),
        "POST /api/admin/shows/{show_id}/cancel": staff(*RUNS),
        "GET /api/admin/shows/{show_id}/cancel": staff(*SERVES, Role.AUDITOR),
        "GET /api/admin/show/{show_id}/availability": staff(*SERVES, Role.AUDITOR),
        "GET /api/admin/reports/sales": staff(*RUNS, Role.AUDITOR),
        "GET /api/admin/reports/demand": staff(*RUNS, Role.AUDITOR),
        # Who may do what, and who is kept out
        "GET /api/admin/staff": staff(Role.OWNER, Role.AUDITOR),
        "POST /api/admin/staff": staff(Role.OWNER),
        "GET /api/admin/staff/{staff_id}": staff(Role.OWNER, Role.AUDITOR),
        "POST /api/admin/staff/{staff_id}/role": staff(Role.OWNER),
        "POST /api/admin/staff/{staff_id}/block": staff(Role.OWNER),
        "POST /api/admin/staff/{staff_id}/unblock": staff(Role.OWNER),
        "GET /api/admin/api-keys": staff(Role.OWNER, Role.AUDITOR),
        "POST /api/admin/api-keys": staff(Role.OWNER),
        "GET /api/admin/api-keys/{key_id}": staff(Role.OWNER, Role.AUDITOR),
        "POST /api/admin/api-keys/{key_id}/rotate": staff(Role.OWNER),
        "DELETE /api/admin/api-keys/{key_id}": staff(Role.OWNER),
        # Partners: each account sees its own endpoints and deliveries
        "GET /api/partner/endpoints": partner(*RUNS),
        "POST /api/partner/endpoints": partner(*RUNS, scope=Scope.ENDPOINTS_WRITE),
        "GET /api/partner/endpoints/{endpoint_id}": partner(*RUNS),
        "PATCH /api/partner/endpoints/{endpoint_id}": partner(*RUNS, scope=Scope.ENDPOINTS_WRITE),
        "DELETE /api/partner/endpoints/{endpoint_id}": partner(*RUNS, scope=Scope.ENDPOINTS_WRITE),
        "POST /api/partner/endpoints/{endpoint_id}/rotate": partner(
            *RUNS, scope=Scope.ENDPOINTS_WRITE
        ),
        "POST /api/partner/endpoints/{endpoint_id}/test": partner(
            *RUNS, scope=Scope.ENDPOINTS_WRITE
        ),
        "POST /api/partner/endpoints/{endpoint_id}/replay": partner(
            *RUNS, scope=Scope.ENDPOINTS_WRITE
        ),
        "GET /api/partner/deliveries": partner(*RUNS),
        "GET /api/partner/deliveries/{delivery_id}": partner(*RUNS),
        "POST /api/partner/deliveries/{delivery_id}/replay": partner(
            *RUNS, scope=Scope.ENDPOINTS_WRITE
        ),
        "GET /api/partner/events": partner(*RUNS),
        # What is not built yet says so to the staff, and to nobody else
        "GET /api/admin/{rest:path}": staff(*STAFF),
        "POST /api/admin/{rest:path}": staff(*STAFF),
        "PUT /api/admin/{rest:path}": staff(*STAFF),
        "PATCH /api/admin/{rest:path}": staff(*STAFF),
        "DELETE /api/admin/{rest:path}": staff(*STAFF),
        # Machines: a provider proves itself by its signature, operations by where they ask from
        "POST /api/webhooks/{provider}": public(),
        "GET /healthz": public(),
        "GET /readyz": public(),
        "GET /metrics": public(),
        # Pages, which know nothing of anybody
        "GET /account/verify": public(),
        "GET /account/reset": public(),
        "GET /account/page.css": public(),
        "GET /account/page.js": public(),
        "GET /back": public(),
        "GET /": public(),
        "GET /docs": public(),
        "GET /docs/start.js": public(),
        "GET /docs/swagger-ui.css": public(),
        "GET /docs/swagger-ui-bundle.js": public(),
        "GET /openapi.json": public(),
    }
)
# Served only where the settings say so, so that their lines may have no route.
OPTIONAL = frozenset(
    {
        "GET /",
        "GET /docs",
        "GET /docs/start.js",
        "GET /docs/swagger-ui.css",
        "GET /docs/swagger-ui-bundle.js",
        "GET /openapi.json",
    }
)


def require_public(routes: Iterable[str], policy: Mapping[str, Rule]) -> None:
    """For what is answered before the guard is asked.

    Raises:
        RuntimeError: somebody may not read one of these paths.
    """
    for route in routes:
        if policy[f"GET {route}"].who is not Who.PUBLIC:
            raise RuntimeError(f"GET {route} is sent to everybody, and api/policy.py says not to")


def table() -> str:
    """The policy as a table in Markdown that reads well in a terminal too."""
    head = ("method", "path", "who", "roles", "API key")
    rows = [(*key.split(" ", 1), *_cells(rule)) for key, rule in POLICY.items()]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [head, tuple("-" * width for width in widths), *rows]
    return "".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |\n"
        for line in lines
    )


def _cells(rule: Rule) -> tuple[str, str, str]:
    roles = ", ".join(role for role in Role if role in rule.roles)
    return rule.who.value, roles, rule.scope or ""
