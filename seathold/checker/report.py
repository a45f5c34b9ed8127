"""What a check answers: it held, it was breached (with examples), or it could not be run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

MAX_EXAMPLES = 5


class NotRun(Exception):
    """An input the check needs was not given, or (``unreachable``) did not answer."""

    def __init__(self, reason: str, *, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.unreachable = unreachable


@dataclass
class Verdict:
    """One invariant's answer. ``breaches`` counts all of them; ``examples`` are the first few."""

    id: str
    sentence: str
    breaches: int = 0
    examples: list[str] = field(default_factory=list)
    not_run: str | None = None
    unreachable: bool = False

    @property
    def status(self) -> str:
        if self.breaches:
            return "BREACH"
        return "ok" if self.not_run is None else "not run"

    def add(self, breaches: Iterable[str]) -> None:
        for example in breaches:
            self.breaches += 1
            if len(self.examples) < MAX_EXAMPLES:
                self.examples.append(example)

    def skip(self, why: NotRun) -> None:
        self.not_run, self.unreachable = str(why), why.unreachable

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "sentence": self.sentence,
            "status": self.status,
            "breaches": self.breaches,
            "examples": self.examples,
            "reason": self.not_run,
        }


class Tally:
    """Breaches that are told later, in the order of their texts; all but the first are counted."""

    def __init__(self) -> None:
        self.breaches = 0
        self.examples: list[str] = []

    def add(self, breaches: Iterable[str]) -> None:
        for example in breaches:
            self.breaches += 1
            self.examples = sorted([*self.examples, example])[:MAX_EXAMPLES]

    def __iter__(self) -> Iterator[str]:
        """As many as there were: more than a verdict shows of one are nameless."""
        return chain(self.examples, repeat("", self.breaches - len(self.examples)))


def not_looked_at(id_: str, sentence: str, why: str) -> Verdict:
    """An invariant that no look at rows can judge; the reader is told where it is kept."""
    return Verdict(id_, sentence, not_run=why)


def verdict_of(check: Callable[..., Any]) -> Verdict:
    """An empty verdict with the id and the sentence that open the check's docstring."""
    first = inspect.getdoc(check) or ""
    id_, _, sentence = " ".join(first.partition("\n\n")[0].split()).partition(" ")
    return Verdict(id_, sentence)
