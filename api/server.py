"""The HTTP server: uvicorn, which lets streams end before it waits for the rest."""

from __future__ import annotations

import socket

import uvicorn

from api.app import SeatholdApi


class ApiServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, app: SeatholdApi) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # They would be waited for until the last grace is over; their readers come back elsewhere.
        if self._app.front.streams is not None:
            self._app.front.streams.end()
        await super().shutdown(sockets)
