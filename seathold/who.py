"""Who gives a command, for the audit log."""

from __future__ import annotations

import getpass
import os


def account() -> str:
    """The account's name; in a container it may be a number that no name belongs to."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
