"""What is read often and may lag a little, built from the events: see docs/projections.md."""
