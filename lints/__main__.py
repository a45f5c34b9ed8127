"""``python -m lints [PATH …]``: find what breaks the house's rules; exit 1 if anything does."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
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


def sources(paths: Sequence[str]) -> Iterator[Path]:
    for path in map(Path, paths):
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def findings(paths: Sequence[str]) -> list[Finding]:
    return [
        finding
        for path in sources(paths)
        for finding in check(str(path), path.read_text(encoding="utf-8"))
    ]


def main(arguments: Sequence[str]) -> int:
    found = findings(arguments or FOLDERS)
    for one in found:
        print(f"{one.path}:{one.line}: {one.rule} {one.says}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
