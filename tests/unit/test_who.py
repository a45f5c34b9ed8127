"""Who gives a command is on record, with or without a name."""

from __future__ import annotations

import os
import pwd

import pytest

from seathold.who import account

NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")


def test_an_account_without_a_name_is_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that an orchestrator starts under any number."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    assert account() == pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    assert account() == str(os.getuid())
