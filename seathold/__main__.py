"""``python -m seathold`` is the command line."""

from seathold.cli import main

main()
