"""Who may do the staff's work: 401 without a token, 403 with anybody else's."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from api.deps.read import Bearer
from api.deps.write import Call, SignedCall
from domain.errors import Forbidden
from infra.tokens import Principal


class StaffBearer(Bearer):
    async def __call__(self, request: Request) -> Principal:
        user = await super().__call__(request)
        _require_staff(user)
        return user


class StaffCall(SignedCall):
    async def __call__(self, request: Request) -> Call:  # type: ignore[override]
        call = await super().__call__(request)
        _require_staff(call.user)
        return call


def _require_staff(user: Principal) -> None:
    if not user.is_staff:
        raise Forbidden("This is for the staff.")


StaffUser = Annotated[Principal, Depends(StaffBearer())]
StaffCommand = Annotated[Call, Depends(StaffCall())]
