"""What the staff does with cases: take one on, give it away, resolve it."""

from __future__ import annotations

from uuid import UUID

import orjson
from fastapi import APIRouter, Request, Response

from api.commands.idempotency import idempotent
from api.deps.if_match import IfMatch, versions
from api.deps.read import PathId
from api.deps.write import Call, Command
from api.schemas.cases import AssignBody, CaseOut, ResolveBody
from domain.errors import NotFound
from readmodel import cases as readmodel
from services import case
from services.case import CaseChange

router = APIRouter(prefix="/api/admin/cases", tags=["cases"])


@router.post("/{case_id}/assign", response_model=CaseOut)
async def assign(
    case_id: PathId,
    request: Request,
    call: Command,
    if_match: IfMatch,
    body: AssignBody | None = None,
) -> Response:
    """Take the case on, or give it to somebody else of the staff."""
    change = _change(call, case_id, if_match)
    assignee = (body.assignee if body else None) or call.user.user_id

    async def run() -> Response:
        async with call.state.begin() as tx:
            await case.assign(tx, change, assignee)
        return await _answer(call, case_id)

    route = f"POST /api/admin/cases/{case_id}/assign"
    return await idempotent(call.state, call.user, route, call.key, await request.body(), run)


@router.post("/{case_id}/resolve", response_model=CaseOut)
async def resolve(
    case_id: PathId, body: ResolveBody, request: Request, call: Command, if_match: IfMatch
) -> Response:
    """Close the case for good and say why; the reason is kept in the audit log."""
    change = _change(call, case_id, if_match)

    async def run() -> Response:
        async with call.state.begin() as tx:
            await case.resolve(tx, change, body.reason)
        return await _answer(call, case_id)

    route = f"POST /api/admin/cases/{case_id}/resolve"
    return await idempotent(call.state, call.user, route, call.key, await request.body(), run)


def _change(call: Call, case_id: UUID, if_match: list[str]) -> CaseChange:
    return CaseChange(case_id, versions(if_match), call.user.user_id, call.request_id)


async def _answer(call: Call, case_id: UUID) -> Response:
    async with call.state.database.statements() as session:
        found = await readmodel.read(session, case_id)
    if found is None:
        raise NotFound("There is no such case.")
    headers = {"ETag": f'"{found["version"]}"'}
    return Response(orjson.dumps(found), 200, headers, "application/json")
