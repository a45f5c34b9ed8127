"""``python -m lints [PATH …]``: find what breaks the house's rules; exit 1 if anything does."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from lints.rules import Finding, check

FOLDERS = (
    "activities",
    "api",
    "contracts",
    "domain",
    "infra",
    "loops",
    "readmodel",
    "seathold",
    "services",
    "workflows",
    "worker.py",
)
# Tests and measurements may do what production code may not, but not at any length. Migrations may:
# a revision is whole, and never read again.
BESIDE = ("bench", "lints", "tests")
BESIDE_RULES = ("H6",)


def sources(paths: Sequence[str]) -> Iterator[Path]:
    for path in map(Path, paths):
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def findings(paths: Sequence[str], names: Collection[str] | None = None) -> list[Finding]:
    return [
        finding
        for path in sources(paths)
        for finding in check(str(path), path.read_text(encoding="utf-8"), names)
    ]


def main(arguments: Sequence[str]) -> int:
    found = findings(arguments or FOLDERS)
    if not arguments:
        found += findings(BESIDE, BESIDE_RULES)
    for one in found:
        print(f"{one.path}:{one.line}: {one.rule} {one.says}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
