"""Ports on the loopback address: the usual one, or the next that is free."""

from __future__ import annotations

import socket
from typing import Literal

Policy = Literal["default", "auto"]
LOOPBACK = "127.0.0.1"
TRIES = 50


def choose(usual: int, policy: Policy, taken: set[int]) -> int:
    """A free port: ``auto`` takes any, ``default`` the usual one or the next after it."""
    for port in [0] * TRIES if policy == "auto" else range(usual, usual + TRIES):
        found = _bindable(port)
        if found is not None and found not in taken:
            taken.add(found)
            return found
    raise OSError(f"no free port from {usual} to {usual + TRIES - 1}")


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


def _bindable(port: int) -> int | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return None
        bound: int = probe.getsockname()[1]
        return bound
