"""``python -m bench [NAME …]``: run benchmarks; ``--readme`` renews the README's table alone."""

from __future__ import annotations

import sys

from bench import report, saga, start

ALL = {"start": start.main, "saga": saga.main}


def main(names: list[str]) -> int:
    """Run those named, or all; 2 for an unknown name. A missed target is told, not failed."""
    if names == ["--readme"]:
        report.renew_readme()
        return 0
    unknown = [name for name in names if name not in ALL]
    if unknown:
        print(f"There is no benchmark {unknown[0]}; there are: {', '.join(ALL)}.")
        return 2
    for name in names or ALL:
        ALL[name]()
    report.renew_readme()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
