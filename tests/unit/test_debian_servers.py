"""The run on Debian's servers: where it cannot have them it fails, with the fix."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import debian


@pytest.mark.parametrize("without", ["root", "apt-get"])
def test_where_nothing_may_be_installed_the_run_fails_and_names_the_packages(
    without: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(debian, "PACKAGES", {"postgresql-15": tmp_path / "not-there"})
    monkeypatch.setattr(os, "geteuid", lambda: 1000 if without == "root" else 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    if without == "root":
        (tmp_path / "apt-get").touch(mode=0o755)
    assert debian.main([]) == 1
    told = capsys.readouterr().err
    assert told.startswith("Error: The suite on PostgreSQL 15 cannot run here: install postgresql-")
    assert told.count("\n") == 1
