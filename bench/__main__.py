"""``python -m bench [NAME …]``: run benchmarks and campaigns; ``--help`` lists them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from bench import (
    chaos,
    fuzz,
    growth,
    login,
    race,
    reads,
    report,
    saga,
    sequences,
    start,
    stream,
    timing,
    webhooks,
)

BENCHMARKS = {
    "start": start,
    "saga": saga,
    "webhooks": webhooks,
    "reads": reads,
    "stream": stream,
    "growth": growth,
    "login": login,
}
CAMPAIGNS = {
    "campaign-chaos": chaos,
    "campaign-race": race,
    "campaign-timing": timing,
    "campaign-webhooks": sequences,
    "campaign-fuzz": fuzz,
}
ALL = {**BENCHMARKS, **CAMPAIGNS}


def main(arguments: Sequence[str]) -> int:
    """Run those named, or every benchmark; 2 for an unknown name.

    A benchmark's missed target is told, not failed; a campaign's breach is 1.
    """
    asked = _parser().parse_args(arguments)
    unknown = [name for name in asked.names if name not in ALL]
    if unknown:
        print(f"There is no benchmark or campaign {unknown[0]}; there are: {', '.join(ALL)}.")
        return 2
    names = asked.names or ([] if asked.readme else list(BENCHMARKS))
    breached = 0
    environment = dict(os.environ)
    for name in names:
        # One speaks of its own stack to the SDK by variables; the next has another.
        os.environ.clear()
        os.environ.update(environment)
        if name in CAMPAIGNS:
            breached |= CAMPAIGNS[name].main(asked.rounds)
        else:
            BENCHMARKS[name].main()
    if asked.readme or any(name in BENCHMARKS for name in names):
        report.renew_readme()
    return breached


def _parser() -> argparse.ArgumentParser:
    lines = [f"  {name:<18} {_summary(module.__doc__)}" for name, module in ALL.items()]
    parser = argparse.ArgumentParser(
        "python -m bench",
        description="Run those named, or every benchmark; campaigns run only when named.",
        epilog="\n".join(["benchmarks and campaigns:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--readme", action="store_true", help="only renew the README's table")
    parser.add_argument(
        "--rounds",
        type=_count,
        metavar="N",
        help="how far a campaign goes: rounds of the chaos (20), of the race (200), of the timing"
        " (2,000), events of a sequence (5)",
    )
    return parser


def _summary(doc: str | None) -> str:
    """A module's first line without the command that it begins with."""
    return (doc or "").partition("\n")[0].rpartition("``: ")[2]


def _count(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError("give a whole number, 1 or more")
    return int(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
