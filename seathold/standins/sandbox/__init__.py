"""A payment provider for development and tests, and the independent witness of all money."""
