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
from temporalio.client import Client

from bench import report
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


async def measure(info: dict[str, Any], rounds: int) -> tuple[dict[str, Any], dict[str, str]]:
    """How long known and unknown addresses took, by route, and the servers that were asked.

    ``apart`` is how far apart the medians are, as a share.
    """
    wire = await Wire.open(int(info["api_url"].rpartition(":")[2]))
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
    found: dict[str, Any] = {"rounds": rounds}
    for route, sides in took.items():
        ours, nobodys = (statistics.median(sides[side]) * 1000 for side in (True, False))
        apart = abs(ours - nobodys) / nobodys
        found[route] = {"known_ms": ours, "unknown_ms": nobodys, "apart": apart}
    return found, await report.servers(info, await Client.connect(info["temporal_address"]))


def keep(found: dict[str, Any], servers: dict[str, str]) -> None:
    """Write the result as the benchmarks do."""
    ratios, words = {}, {}
    for route in ("login", "reset"):
        ratios[f"{route}_apart"] = report.ratio(found[route]["apart"], MOST_APART, "lower")
        words[f"{route}_apart"] = (
            f"medians of {found['rounds']}: {found[route]['known_ms']:.2f} ms known,"
            f" {found[route]['unknown_ms']:.2f} ms unknown"
        )
    report.write("campaign-timing", ratios, {**found, "in_words": words}, servers)
    report.renew_readme()


def main(rounds: int | None = None) -> int:
    """Ask so many times (2,000) about known and unknown addresses in turn; 1 if time tells."""
    with tempfile.TemporaryDirectory(prefix="seathold-bench-") as folder:
        Path(folder).chmod(0o711)
        with Stack(Path(folder), ports="auto", env=SETTINGS) as stack:
            found, servers = uvloop.run(measure(stack.info, rounds or DEFAULT_ROUNDS))
    keep(found, servers)
    apart = {route: found[route]["apart"] for route in ("login", "reset")}
    print(f"campaign-timing: {', '.join(f'{name} {apart[name]:.1%} apart' for name in apart)}")
    return int(max(apart.values()) > MOST_APART)
