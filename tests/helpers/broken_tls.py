"""A server whose TLS breaks after the handshake."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.certificate import certificate


@contextlib.contextmanager
def broken_tls(folder: Path, name: str) -> Iterator[int]:
    """Its port; its certificate, for ``name``, is ``cert.pem`` in ``folder``."""
    context = certificate(folder, name)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        told = (listening, context)
        threading.Thread(target=_serve, args=told, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def _serve(listening: socket.socket, context: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError):  # the test is over
        while True:
            accepted, _ = listening.accept()
            with context.wrap_socket(accepted, server_side=True) as secured:
                secured.recv(65536)
                with socket.socket(fileno=os.dup(secured.fileno())) as bare:
                    # As if there were no TLS.
                    bare.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    # Until the other side has had enough of it.
                    bare.recv(65536)
