"""What a session was opened with, in a few words of ours.

What a client says of itself is kept nowhere: it can be long, forged, and tell who somebody is.
"""

from __future__ import annotations

# The first that occurs counts: browsers claim to be one another.
PROGRAMS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("python-", "Python"),
    ("okhttp/", "an app"),
)
SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def client_name(user_agent: str) -> str | None:
    """``Firefox on Linux``, from a ``User-Agent``; None for one that says nothing known."""
    program = next((name for mark, name in PROGRAMS if mark in user_agent), None)
    system = next((name for mark, name in SYSTEMS if mark in user_agent), None)
    return " on ".join(word for word in (program, system) if word) or None
