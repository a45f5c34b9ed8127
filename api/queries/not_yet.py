"""Addresses that are promised and not built yet: they say so instead of not being there."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, Response

from api.deps.read import ID_EXAMPLE, CurrentUser, PathId, ReadConnection
from api.problems import problem
from api.queries.bookings import visible

router = APIRouter()

NOT_YET = (
    ("POST", "/api/show/{show_id}/queue", "Join the waiting room"),
    ("GET", "/api/queue/{ticket}", "Your place in the waiting room"),
    ("GET", "/api/queue/{ticket}/stream", "Your place as it changes"),
)
ADMIN_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


async def not_yet() -> Response:
    return problem(501, "not_yet", "This is promised and not built yet.")


def parameters(path: str) -> list[dict[str, Any]]:
    """What stands in the path, for the document: nothing reads it yet."""
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "example": ID_EXAMPLE,
        }
        for name in re.findall(r"\{(\w+)\}", path)
    ]


for method, path, summary in NOT_YET:
    router.add_api_route(
        path,
        not_yet,
        methods=[method],
        status_code=501,
        summary=summary,
        tags=["not yet"],
        openapi_extra={"parameters": named} if (named := parameters(path)) else None,
    )


@router.get(
    "/api/booking/{booking_id}/tickets.pdf",
    status_code=501,
    summary="The tickets to print",
    tags=["not yet"],
)
async def tickets_pdf(
    booking_id: PathId, user: CurrentUser, connection: ReadConnection
) -> Response:
    # Another's booking is none, here as everywhere.
    await visible(connection, booking_id, user)
    return await not_yet()


# Not in the document: which addresses there will be is not decided for each of them.
router.add_api_route(
    "/api/admin/{rest:path}", not_yet, methods=list(ADMIN_METHODS), include_in_schema=False
)
