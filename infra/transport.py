"""The bare way to a server over HTTP, for whoever sends a request of its own making."""

from __future__ import annotations

import ssl
from functools import cache

import httpx2


def bare_transport() -> httpx2.AsyncHTTPTransport:
    """A transport without cookies, redirects, auth and the environment's proxies.

    They are not wanted, and would cost CPU with each request.
    """
    return httpx2.AsyncHTTPTransport(verify=_trusted(), trust_env=False)


@cache
def _trusted() -> ssl.SSLContext:
    """A context that knows the machine's certificates: to read them takes longer than all else."""
    return httpx2.create_ssl_context(trust_env=False)
