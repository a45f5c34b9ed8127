"""``seathold check``: print which invariants hold, without a line of the code that keeps them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from seathold.checker.inputs import Inputs, NoDatabase
from seathold.checker.report import Verdict
from seathold.checker.run import run

HELD, BREACHED, CANNOT_LOOK = 0, 1, 2


def main(
    *,
    run_dir: Path | None = None,
    as_json: bool = False,
    environ: Mapping[str, str] | None = None,
) -> int:
    """Print one line for each invariant: ``ok``, ``BREACH`` with examples, or ``not run``.

    Addresses come from ``run_dir/dev.json``, else from the environment or ``.env``, else from a
    stack running in ``.run``. A part that was not named is not run.

    Returns:
        0, or 1 when an invariant is breached, or 2 when a part that was named did not answer.
    """
    verdicts: list[Verdict] = []
    try:
        for verdict in run(Inputs.read(run_dir, environ)):
            verdicts.append(verdict)
            if not as_json:
                print_verdict(verdict)
    except NoDatabase as error:
        print(error, file=sys.stderr)
        return CANNOT_LOOK
    if as_json:
        print(json.dumps({"invariants": [verdict.as_json() for verdict in verdicts]}, indent=2))
    else:
        print_counts(verdicts)
    if any(verdict.breaches for verdict in verdicts):
        return BREACHED
    return CANNOT_LOOK if any(verdict.unreachable for verdict in verdicts) else HELD


def print_verdict(verdict: Verdict) -> None:
    """At once, also into a pipe: on a million bookings the whole look takes minutes."""
    lines = [f"{verdict.id:<4} {verdict.status:<8} {verdict.sentence}"]
    if verdict.not_run is not None:
        lines.append(f"       not run: {verdict.not_run}")
    lines += [f"       - {example}" for example in verdict.examples]
    if verdict.breaches > len(verdict.examples):
        lines.append(f"       ... {verdict.breaches} in all")
    print("\n".join(lines), flush=True)


def print_counts(verdicts: Sequence[Verdict]) -> None:
    counts = [
        f"{sum(verdict.status == status for verdict in verdicts)} {status}"
        for status in ("ok", "BREACH", "not run")
    ]
    print(", ".join(counts))
