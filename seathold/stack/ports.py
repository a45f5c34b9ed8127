"""Ports on the loopback address: the usual one, or the next that is free."""

from __future__ import annotations

import socket
from typing import Literal

from seathold.stack.process import StackError

Policy = Literal["default", "auto"]
LOOPBACK = "127.0.0.1"
TRIES = 50


class Reserved(socket.socket):
    """A port that is ours until this is closed; it never listens.

    A server of ours may listen there, and so could another stack's that starts at the same time:
    between stacks the same number of UDP decides, which has one owner and nothing closing down.
    """

    def __init__(self) -> None:
        super().__init__()
        self.claim = socket.socket(type=socket.SOCK_DGRAM)

    def close(self) -> None:
        self.claim.close()
        super().close()


def reserve(usual: int, policy: Policy, taken: set[int]) -> Reserved:
    """A free port: ``auto`` takes any, ``default`` the usual one or the next after it.

    The system gives it to nobody else who asks for any, and no other stack takes it. A port that
    was only looked for can be gone before its server starts.
    """
    for port in [0] * TRIES if policy == "auto" else range(usual, usual + TRIES):
        held = Reserved()
        # The usual port may still have connections of the last run that are closing down.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, policy == "default")
        try:
            held.bind((LOOPBACK, port))
            held.claim.bind((LOOPBACK, port_of(held)))
        except OSError:
            held.close()
            continue
        if port_of(held) in taken:
            held.close()
            continue
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.add(port_of(held))
        return held
    raise StackError(
        f"No port from {usual} to {usual + TRIES - 1} is free: end what listens there, or take any"
        " with `seathold dev --ports auto`."
    )


def port_of(held: socket.socket) -> int:
    port: int = held.getsockname()[1]
    return port


def listening_socket(port: int) -> socket.socket:
    """A bound, listening socket to hand to several processes."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((LOOPBACK, port))
    listener.listen(4096)
    listener.set_inheritable(True)
    return listener


def answers(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((LOOPBACK, port)) == 0
