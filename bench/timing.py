"""``make campaign-timing``: whether log-in and reset tell by their time who is known."""

from __future__ import annotations

import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import orjson
import uvloop

from bench.buyers import PASSWORD
from bench.wire import Wire, post
from seathold.stack.stack import Stack

DEFAULT_ROUNDS = 2000
# Medians may differ by this share (ASVS 5, 6.3.8; a remote attacker sees far more noise).
MOST_APART = 0.05
# Nothing is limited here: what is asked is how long each answer takes. No mail is sent meanwhile.
SETTINGS = {"SEATHOLD_RATE_LIMIT_PER_MINUTE": "0", "SEATHOLD_LOG_LEVEL": "WARNING"}


async def answered(wire: Wire, path: str, body: dict[str, Any], status: int) -> float:
    """Seconds until the answer came."""
    request = post(path, "", orjson.dumps(body))
    began = time.perf_counter()
    found, content = await wire.send(request)
    took = time.perf_counter() - began
    if found != status:
        raise RuntimeError(f"{path}: {found} {content.decode()}")
    return took


async def measure(port: int, rounds: int) -> dict[str, float]:
    """How far apart the medians of known and unknown addresses are, as a share, by route."""
    wire = await Wire.open(port)
    took: dict[str, dict[bool, list[float]]] = {
        route: {True: [], False: []} for route in ("login", "reset")
    }
    for number in range(rounds):
        # Each known address is asked for once: a second mail within a minute would not be made.
        known = {"email": f"{uuid.uuid4().hex}@example.test"}
        registered = {**known, "password": PASSWORD, "name": "Ada"}
        await answered(wire, "/api/auth/register", registered, 201)
        asked = [(True, known), (False, {"email": f"{uuid.uuid4().hex}@example.test"})]
        # Neither is always asked for first.
        for is_known, address in asked if number % 2 else asked[::-1]:
            wrong = {**address, "password": "not the password of anybody"}
            took["login"][is_known].append(await answered(wire, "/api/auth/login", wrong, 401))
            path = "/api/auth/password/forgot"
            took["reset"][is_known].append(await answered(wire, path, address, 202))
    await wire.close()
    apart = {}
    for route, sides in took.items():
        known_ms, unknown_ms = (statistics.median(sides[side]) * 1000 for side in (True, False))
        apart[route] = abs(known_ms - unknown_ms) / unknown_ms
        print(f"{route}: {known_ms:.2f} ms known, {unknown_ms:.2f} ms unknown, {rounds} each")
    return apart


def main(rounds: int | None = None) -> int:
    """Ask so many times (2,000) about known and unknown addresses in turn; 1 if time tells."""
    with tempfile.TemporaryDirectory(prefix="seathold-bench-") as folder:
        Path(folder).chmod(0o711)
        with Stack(Path(folder), ports="auto", env=SETTINGS) as stack:
            port = int(stack.info["api_url"].rpartition(":")[2])
            apart = uvloop.run(measure(port, rounds or DEFAULT_ROUNDS))
    told = ", ".join(f"{route} {share:.1%} apart" for route, share in apart.items())
    print(f"campaign-timing: {told}")
    return int(max(apart.values()) > MOST_APART)
