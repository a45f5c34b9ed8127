"""A comparison tells of so many of each kind: a pile of old cases hides no repair."""

from __future__ import annotations

from services.reconcile_books import TOLD_AT_MOST, Tally


def test_old_cases_do_not_hide_what_was_repaired() -> None:
    tally = Tally()
    for number in range(TOLD_AT_MOST + 1):
        tally.note(f"case {number}", repaired=False)
    tally.note("missing of payment pay_1", repaired=True)
    assert (tally.left, tally.repaired) == (TOLD_AT_MOST + 1, 1)
    assert len(tally.told) == TOLD_AT_MOST + 1
    assert tally.told[-1] == "repaired: missing of payment pay_1"
