"""What owners do with the staff's accounts: invite, give a role, keep out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

import orjson
from fastapi import APIRouter, Request, Response

from api.commands.idempotency import idempotent
from api.deps.read import PathId
from api.deps.write import Call, Command
from api.schemas.staff import InviteBody, ReasonBody, RoleBody, StaffOut
from domain.errors import NotFound
from readmodel import staff as readmodel
from services.staff import Act

router = APIRouter(prefix="/api/admin/staff", tags=["staff"])


@router.post("", status_code=201, response_model=StaffOut)
async def invite(body: InviteBody, request: Request, call: Command) -> Response:
    """Open an account for somebody of the staff; they are mailed how to choose a password."""

    async def run() -> Response:
        staff = call.state.staff
        id_ = await staff.invite(body.email, body.name, body.role, _act(call, body.reason))
        return await _answer(call, id_, 201)

    return await _once(call, request, "", run)


@router.post("/{staff_id}/role", response_model=StaffOut)
async def give_role(staff_id: PathId, body: RoleBody, request: Request, call: Command) -> Response:
    """Give an account another role; it has to log in again."""

    async def run() -> Response:
        await call.state.staff.give_role(staff_id, body.role, _act(call, body.reason))
        return await _answer(call, staff_id)

    return await _once(call, request, f"/{staff_id}/role", run)


@router.post("/{staff_id}/block", response_model=StaffOut)
async def block(staff_id: PathId, body: ReasonBody, request: Request, call: Command) -> Response:
    """Keep an account out, with its sessions and API keys. A repeat is 200."""

    async def run() -> Response:
        await call.state.staff.block(staff_id, _act(call, body.reason), blocked=True)
        return await _answer(call, staff_id)

    return await _once(call, request, f"/{staff_id}/block", run)


@router.post("/{staff_id}/unblock", response_model=StaffOut)
async def unblock(staff_id: PathId, body: ReasonBody, request: Request, call: Command) -> Response:
    """Let an account in again. A repeat is 200."""

    async def run() -> Response:
        await call.state.staff.block(staff_id, _act(call, body.reason), blocked=False)
        return await _answer(call, staff_id)

    return await _once(call, request, f"/{staff_id}/unblock", run)


def _act(call: Call, reason: str) -> Act:
    return Act(call.user.user_id, reason, call.request_id)


async def _once(
    call: Call, request: Request, path: str, run: Callable[[], Awaitable[Response]]
) -> Response:
    route = f"POST /api/admin/staff{path}"
    return await idempotent(call.state, call.user, route, call.key, await request.body(), run)


async def _answer(call: Call, staff_id: UUID, status: int = 200) -> Response:
    async with call.state.database.statements() as session:
        found = await readmodel.read(session, staff_id)
    if found is None:
        raise NotFound("There is no such account.")
    return Response(orjson.dumps(found), status, media_type="application/json")
