"""A log has one record a line, whatever strangers send: nobody writes a line of his own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

HOSTILE = [
    "a\nb",
    "a\r\nlevel=error event=forged",
    'a", "event": "forged',
    "a\u2028b\u2029c\x85d\x0be\x0cf",
    "\x1b[31mred\x1b[0m",
    "\x00\ud800",
    "%s %d {} {0.__class__}",
]
PROGRAM = """
import json, logging, sys
from infra.logging import configure_logging
from infra.settings import Settings
import structlog

configure_logging(Settings(_env_file=None), process="test")
for text in json.loads(sys.stdin.read()):
    structlog.get_logger("ours").info(text, route=text, **{"key" + text[:1]: text})
    logging.getLogger("theirs").warning("%s", text)
    try:
        raise ValueError(text)
    except ValueError:
        structlog.get_logger("ours").exception("failed", path=text)
"""


def test_hostile_texts_stay_inside_their_record() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(HOSTILE),
        env={**os.environ, "PYTHONPATH": os.getcwd(), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        timeout=60,
    )
    lines = done.stderr.splitlines()
    records = [json.loads(line) for line in lines]
    assert len(records) == 3 * len(HOSTILE)
    assert {record["event"] for record in records} == {*HOSTILE, "failed"}
    assert {record["level"] for record in records} == {"info", "warning", "error"}
    assert {record["timestamp"][-1] for record in records} == {"Z"}, "in UTC"
    assert "\x1b" not in done.stderr
    assert done.stdout == ""
