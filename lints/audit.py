"""``make audit``: known vulnerabilities of what the lock file names.

An audit that cannot reach its database finds nothing and looks green. So a canary goes with it, a
package with a known advisory: unless that one is flagged, the audit says that it was not run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CANARY = "jinja2==2.10"
CLEAN, VULNERABLE, NOT_RUN = 0, 1, 3
SECONDS = 300


@dataclass(frozen=True, slots=True)
class Verdict:
    code: int
    lines: tuple[str, ...]


def judge(canary: str, ours: str) -> Verdict:
    """By what pip-audit printed, as JSON, for the canary and for our own packages."""
    flagged, seen = _read(canary), _read(ours)
    if flagged is None or not any(one["vulns"] for one in flagged if "vulns" in one):
        return Verdict(NOT_RUN, (f"Audit not run: {CANARY} was not flagged, so nothing would be.",))
    if seen is None:
        return Verdict(NOT_RUN, ("Audit not run: pip-audit gave no report of our packages.",))
    skipped = [f"{one['name']}: {one['skip_reason']}" for one in seen if "skip_reason" in one]
    if skipped:
        return Verdict(NOT_RUN, ("Audit not run for:", *skipped))
    found = [
        f"{one['name']} {one['version']}: {vuln['id']}, mended in"
        f" {', '.join(vuln['fix_versions']) or 'no version yet'}"
        for one in seen
        for vuln in one["vulns"]
    ]
    if found:
        return Verdict(VULNERABLE, tuple(found))
    return Verdict(
        CLEAN, (f"{len(seen)} packages, no known vulnerability; the canary was flagged.",)
    )


def _read(printed: str) -> list[dict[str, Any]] | None:
    try:
        found: list[dict[str, Any]] = json.loads(printed)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return None
    return found


def _audit(requirements: Path) -> str:
    """pip-audit's report; it installs and resolves nothing."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements)]
    command += ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout


def main(uv: str) -> int:
    export = [uv, "export", "--locked", "--no-hashes", "--no-emit-project", "--quiet"]
    locked = subprocess.run(export, capture_output=True, text=True, check=True).stdout
    with tempfile.TemporaryDirectory(prefix="seathold-audit-") as folder:
        ours, canary = Path(folder) / "ours.txt", Path(folder) / "canary.txt"
        ours.write_text(locked)
        canary.write_text(CANARY + "\n")
        verdict = judge(_audit(canary), _audit(ours))
    print("\n".join(verdict.lines))
    return verdict.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
