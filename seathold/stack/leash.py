"""Becomes a child that ends with its starter: run by path, imports nothing of ours.

``python leash.py SIGNAL PARENT UID GID COMMAND…``: change to the account (``-`` keeps it), let the
kernel send SIGNAL when PARENT is gone, and turn into COMMAND. A program of its own, because
running Python between fork and exec is not safe in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(number: str, parent: str, uid: str, gid: str, *command: str) -> None:
    if uid != "-":
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    if sys.platform == "linux":
        # After the change of user, which would clear it.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit(1)
    # Python ignores it, and so would whatever it turns into.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(command[0], command)  # nosec B606


main(*sys.argv[1:])
