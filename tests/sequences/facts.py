"""Sequences of webhooks, and the facts at the provider that each of them stands for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, product

# In the order in which they happen at the provider, whatever the order they are told in: the page
# is closed, a card is tried and fails, another one pays, a refund fails at the bank and one
# succeeds, what is left is disputed and lost, or won.
TYPES = (
    "session.expired",
    "payment.processing",
    "payment.failed",
    "payment.captured",
    "refund.failed",
    "refund.succeeded",
    "dispute.opened",
    "dispute.closed",
)
# A sequence that cannot happen stands for the nearest facts that can: what each of its events
# needs has happened too, and nobody tells of it. Everything else may happen on its own, for real
# providers do take money on closed pages.
NEEDS = {
    "refund.failed": ("payment.captured",),
    "refund.succeeded": ("payment.captured",),
    "dispute.opened": ("payment.captured",),
    "dispute.closed": ("payment.captured", "dispute.opened"),
}

# How a booking stands when the facts happen.
WAYS = ("open", "lapsed", "cancelled")
ALL_WAYS = 3
# How a dispute ends that does: each for half of the sequences, in blocks of six, so that each meets
# a booking that stands in each of the two or three ways taken in turn.
OUTCOMES = ("lost", "won")
BLOCK = 6

Sequence = tuple[str, ...]


def sequences(longest: int) -> Iterator[Sequence]:
    """Every sequence of 1 to ``longest`` events, repeats included: 8 + 64 + 512 + …"""
    return chain.from_iterable(product(TYPES, repeat=length) for length in range(1, longest + 1))


def facts_of(sequence: Sequence) -> Sequence:
    """What happens at the provider, in order, for the sequence to be told afterwards."""
    needed = {need for event in sequence for need in NEEDS.get(event, ())}
    return tuple(event for event in TYPES if event in needed or event in sequence)


@dataclass(frozen=True)
class Run:
    """One booking of its own: what happens at the provider, and what is delivered, in order.

    ``when`` is how the booking stands as the facts happen: its hold ``open``, ``lapsed`` or
    ``cancelled``. ``outcome`` is that of a dispute that is closed. ``as_it_happens``: each fact is
    told before the next one happens. With nothing delivered, only the poll is left to find out.
    """

    facts: Sequence
    told: Sequence
    when: str = "open"
    outcome: str = ""
    as_it_happens: bool = False

    @property
    def same(self) -> tuple[Sequence, str, str]:
        """Runs that have this in common must come to the same end."""
        return self.facts, self.when, self.outcome

    @property
    def is_whole(self) -> bool:
        """Whether it delivers a sequence with nothing dropped, after everything has happened."""
        return bool(self.told) and not self.as_it_happens and facts_of(self.told) == self.facts


def runs(longest: int) -> Iterator[Run]:
    """Each sequence as it is and with deliveries dropped; each set of facts untold and live.

    There are so many of more than three deliveries that each is run once as it is, the booking
    standing in one of the three ways in turn, and each fifth with one dropped: the same facts
    come in hundreds of orders in each of the ways all the same.
    """
    seen = set()
    for place, sequence in enumerate(sequences(longest)):
        facts = facts_of(sequence)
        is_closed = "dispute.closed" in facts
        outcome = OUTCOMES[place // BLOCK % 2] if is_closed else ""
        if len(sequence) > ALL_WAYS:
            yield Run(facts, sequence, WAYS[place % 3], outcome)
        else:
            yield Run(facts, sequence, outcome=outcome)
            yield Run(facts, sequence, WAYS[1 + place % 2], outcome)
        if len(sequence) > 1 and (len(sequence) <= ALL_WAYS or place % 5 == 0):
            # The permutations of the same facts drop each of them in turn.
            yield Run(facts, sequence[1:], outcome=outcome)
        if (facts, outcome) not in seen:
            seen.add((facts, outcome))
            yield Run(facts, facts, outcome=outcome, as_it_happens=True)
            for when in WAYS:
                yield Run(facts, (), when, outcome)
