"""The HTTP server: uvicorn, which lets streams end before it waits for the rest."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack

import uvicorn

from api.app import SeatholdApi


class ApiServer(uvicorn.Server):
    """It opens and closes the application itself: what keeps that from starting comes out as it is.

    uvicorn would log a traceback of it, and end without another word.
    """

    def __init__(self, config: uvicorn.Config, app: SeatholdApi) -> None:
        config.lifespan = "off"
        super().__init__(config)
        self._app = app
        self._opened = AsyncExitStack()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        async with AsyncExitStack() as opening:
            await opening.enter_async_context(self._app.router.lifespan_context(self._app))
            await super().startup(sockets)
            self._opened = opening.pop_all()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # They would be waited for until the last grace is over; their readers come back elsewhere.
        if self._app.front.streams is not None:
            self._app.front.streams.end()
        await super().shutdown(sockets)
        if not self.force_exit:
            await self._opened.aclose()
