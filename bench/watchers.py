"""Many readers of one stream, in a process of their own: ``python -m bench.watchers``.

``ADDRESS PORT PATH COUNT``. Says ``ready`` when every reader has its snapshot, then for each
change ``told SECONDS``: when, by the machine's monotonic clock, the last of them had it; at the
end of its input ``lost N``.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
import time

# Linux: let the port be chosen when the other side is known, so that ports are not used up.
IP_BIND_ADDRESS_NO_PORT = 24
AT_ONCE = 100
DELTA = b"event: delta"
SNAPSHOT = b"event: snapshot"


def main(address: str, port: int, path: str, count: int) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    readers: dict[int, socket.socket] = {}
    while len(readers) < count:
        some = [_connect(address, port, request) for _ in range(min(AT_ONCE, count - len(readers)))]
        for reader in some:
            _read_snapshot(reader)
            reader.setblocking(False)
            readers[reader.fileno()] = reader
    _say("ready")
    _listen(readers)


def _connect(address: str, port: int, request: bytes) -> socket.socket:
    reader = socket.socket()
    reader.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    reader.bind((address, 0))
    reader.settimeout(30)
    reader.connect(("127.0.0.1", port))
    reader.sendall(request)
    return reader


def _read_snapshot(reader: socket.socket) -> None:
    text = b""
    while SNAPSHOT not in text or not text.endswith(b"\n\n\r\n"):
        more = reader.recv(65536)
        if not more:
            raise RuntimeError(f"no snapshot: {text[:200]!r}")
        text += more


def _listen(readers: dict[int, socket.socket]) -> None:
    poll = select.epoll()
    for number in readers:
        poll.register(number, select.EPOLLIN)
    poll.register(sys.stdin.fileno(), select.EPOLLIN)
    waiting, lost = set(readers), 0
    while True:
        for number, _ in poll.poll():
            if number == sys.stdin.fileno():
                _say(f"lost {lost}")
                return
            text = b""
            with contextlib.suppress(ConnectionError):
                text = readers[number].recv(65536)
            if not text:
                lost += 1
                poll.unregister(number)
                waiting.discard(number)
            elif DELTA in text:
                waiting.discard(number)
        if not waiting:
            _say(f"told {time.monotonic()}")
            waiting = set(readers)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
