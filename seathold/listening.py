"""Where a process listens, made before anything else: what is in the way is told in a sentence."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

import uvicorn
from starlette.types import ASGIApp

AT = "--host or --port"


class CannotListen(Exception):
    """The port is taken, or the address is none of this machine's."""


def listen(host: str, port: int, *, options: str = AT) -> list[socket.socket]:
    """A bound socket for each address that ``host`` stands for; ``options`` name another.

    Raises:
        CannotListen: one sentence that names the fix.
    """
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            bound.append(one := socket.socket(family, kind, protocol))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
    except OSError as error:
        for one in bound:
            one.close()
        raise CannotListen(
            f"Nothing can listen on {host}:{port} ({error.strerror}): name another with {options}."
        ) from error
    return bound


def serve(app: ASGIApp, sockets: list[socket.socket], **logging: Any) -> None:
    """Serve until SIGTERM or SIGINT; ``logging`` is for uvicorn."""
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        **logging,
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=sockets)
