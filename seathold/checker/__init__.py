"""The invariants of a running Seathold, judged from outside: nothing here imports its code."""
