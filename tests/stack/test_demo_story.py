"""``seathold demo`` as a person runs it: every chapter, every ending, and nothing left."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from seathold import demo
from seathold.stack import temporal
from tests.stack.command import CLEAN, ROOT, Dev, wait_for

# What only a right ending says, chapter by chapter.
ENDINGS = (
    r"1\. Browse\n.*\n   She picks “.+”, .* seats free\)",
    r"2\. Hold, pay, confirmed\n(?:.*\n)*?   Paid and confirmed\. Ticket .+\n   Mail to Ada: “.+”",
    r"3\. A rival .*\n   Ada holds .*; Ben hears: .+\n   Ada cancels, and now Ben gets them",
    r"4\. A hold .*\n(?:.*\n)*?   Mail to Ben: “.+”\n   The booking expired by itself",
    r"5\. A payment fails\n   Ben's card is declined: .+\n   … he does not try again: pay page",
    r"6\. A payment .*\n(?:.*\n)*?   Mail to Ada: “.+”\n   Every cent went back",
    r"7\. A payment .*\n   .+ are hers all the same",
    r"Every booking ended as it must",
)

# A proxy for the way out, as in many an office: nothing that the demo asks is there.
NO_WAY_OUT = {"http_proxy": "http://127.0.0.1:1", "no_proxy": ""}


@pytest.mark.timeout(240)
def test_the_demo_ends_each_chapter_as_it_must_and_leaves_nothing(tmp_path: Path) -> None:
    temporal.find(lambda _: None)
    process = subprocess.Popen(
        [sys.executable, "-m", "seathold", "demo"],
        cwd=ROOT,
        env={**CLEAN, **NO_WAY_OUT, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    started, said = Dev(process, tmp_path), ""
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if line.startswith("7. "):
                started.remember_everyone()
    assert process.returncode == 0, said
    for ending in ENDINGS:
        assert re.search(ending, said), f"{ending}\nis not in\n{said}"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^(\d\. )\*\*(.+?)\.\*\*", readme, re.MULTILINE)
    promised = [number + title for number, title in listed]
    assert re.findall(r"^\d\. .+$", said, re.MULTILINE) == promised
    assert len(started.seen) > 5, "the stack's processes were seen"
    wait_for(lambda: not started.left())
    assert list(tmp_path.iterdir()) == []


def test_one_wrong_ending_fails_the_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(_: demo.Story) -> None:
        demo.expect("the booking", "held", "expired")

    info = {"mail_url": "http://127.0.0.1:1", "sandbox_url": "http://127.0.0.1:1"}
    monkeypatch.setattr(demo, "Stack", lambda *_, **__: nullcontext(SimpleNamespace(info=info)))
    monkeypatch.setattr(demo.Story, "run", wrong)
    assert demo.main() == 1
    assert "the booking: expected 'expired', got 'held'" in capsys.readouterr().out
