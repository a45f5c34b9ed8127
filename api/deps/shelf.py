"""Answers from the shelf: what a query for something that crowds read is given."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from api.deps.state import app_state
from api.hot.document import SMALL, read_after, url_of
from api.hot.shelf import Source
from domain.errors import NotFound

ReadAfter = Annotated[
    str | None,
    Header(
        description="What an answer to a command said in its header of this name: nothing older"
        " than that command is read.",
        examples=["1796601600000000"],
    ),
]


async def from_shelf(request: Request) -> Callable[[Source, str], Awaitable[Response]]:
    state = await app_state(request)

    async def answer(source: Source, missing: str) -> Response:
        """Send the source's document and have it ready under this address; 404 with ``missing``."""
        after = read_after(request.headers.get("read-after", ""))
        document = await state.shelf.get(source, read_after=after, url=url_of(request.scope))
        if document is None:
            raise NotFound(missing)
        if source.is_fixed and not document.is_packed:
            await asyncio.to_thread(document.pack, SMALL)
        return document.answer(request)

    return answer


FromShelf = Annotated[Callable[[Source, str], Awaitable[Response]], Depends(from_shelf)]
