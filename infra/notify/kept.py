"""SMTP connections kept open between messages; each serves one message at a time."""

from __future__ import annotations

import asyncio
import contextlib

import aiosmtplib


class KeptConnections:
    """The connections no message uses now. Each is ended once it idled ``idle_seconds``."""

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._idle: dict[aiosmtplib.SMTP, asyncio.TimerHandle] = {}

    def take(self) -> aiosmtplib.SMTP | None:
        """The one used last, now the caller's alone; None if all are gone."""
        while self._idle:
            client, timer = self._idle.popitem()
            timer.cancel()
            if client.is_connected:
                return client
        return None

    def keep(self, client: aiosmtplib.SMTP) -> None:
        """Let others have it: its last message is answered for and nothing was begun since."""
        loop = asyncio.get_running_loop()
        self._idle[client] = loop.call_later(self._idle_seconds, self._end, client)

    def close(self) -> None:
        for client in list(self._idle):
            self._end(client)

    def _end(self, client: aiosmtplib.SMTP) -> None:
        self._idle.pop(client).cancel()
        # Said, not waited for: how the server takes leave changes nothing.
        with contextlib.suppress(aiosmtplib.SMTPException):
            if client.protocol is not None:
                client.protocol.write(b"QUIT\r\n")
        client.close()
