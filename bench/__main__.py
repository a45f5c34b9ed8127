"""``python -m bench [name …]``: run the benchmarks; each writes ``bench/results/NAME.json``."""

from __future__ import annotations

import sys

from bench import saga, start

ALL = {"start": start.main, "saga": saga.main}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in ALL]
    if unknown:
        print(f"There is no benchmark {unknown[0]}; there are: {', '.join(ALL)}.")
        return 2
    for name in names or ALL:
        ALL[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
