"""What every benchmark writes: ratios with their targets, the figures behind them, the machine."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from psycopg import AsyncConnection
from redis.asyncio import Redis
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
MARKS = "<!-- bench:start -->", "<!-- bench:end -->"


def ratio(value: float, target: float, better: Literal["lower", "higher"]) -> dict[str, Any]:
    return {"value": round(value, 3), "target": target, "better": better}


def is_met(one: Mapping[str, Any]) -> bool:
    met = (
        one["value"] <= one["target"] if one["better"] == "lower" else one["value"] >= one["target"]
    )
    return bool(met)


def write(
    name: str,
    ratios: Mapping[str, Any],
    figures: Mapping[str, Any],
    servers: Mapping[str, str],
) -> None:
    """Print the ratios, keep everything in ``bench/results/NAME.json``.

    ``figures["in_words"]`` names, for each ratio, the absolute figures it is made of.
    """
    for key, one in ratios.items():
        verdict = "met" if is_met(one) else "missed"
        print(f"  {key:<24} {one['value']:>8} ({one['better']} than {one['target']}: {verdict})")
    RESULTS.mkdir(exist_ok=True)
    content = {"ratios": ratios, "figures": figures, "machine": {**machine(), **servers}}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


async def servers(info: Mapping[str, Any], client: Client) -> dict[str, str]:
    """The versions of a running stack's servers."""
    about = await client.workflow_service.get_system_info(GetSystemInfoRequest())
    redis = Redis.from_url(info["redis_url"])
    answer = await redis.info("server")
    await redis.aclose()
    async with await AsyncConnection.connect(info["database_url"]) as connection:
        postgres = connection.info.parameter_status("server_version")
    return {
        "temporal": about.server_version,
        "postgres": postgres or "?",
        "redis": redis_version(answer),
    }


def redis_version(about: Mapping[str, Any]) -> str:
    """Valkey calls the Redis that it is compatible with ``redis_version``."""
    name = about.get("server_name", "redis")
    return f"{name} {about.get(f'{name}_version') or about['redis_version']}"


def machine() -> dict[str, Any]:
    """Where the figures come from; no name of the machine itself."""
    cpu = next(
        (line.partition(": ")[2] for line in _lines("/proc/cpuinfo") if "model name" in line), "?"
    )
    kilobytes = next((line.split()[1] for line in _lines("/proc/meminfo")), "0")
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(int(kilobytes) / 1024**2),
        "python": sys.version.split()[0],
        "system": platform.platform(terse=True),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def renew_readme() -> None:
    """Put the ratios of every result into the README's table."""
    rows = ["| ratio | value | target | | from |", "|---|---|---|---|---|"]
    where = ""
    for path in sorted(RESULTS.glob("*.json")):
        found = json.loads(path.read_text())
        here = found["machine"]
        where = (
            f"{here['cores']} cores ({here['cpu']}), {here['memory_gib']} GiB, Python"
            f" {here['python']}, PostgreSQL {here['postgres']}, Temporal {here['temporal']},"
            f" {here['redis']}, {here['date']}"
        )
        for key, one in found["ratios"].items():
            sign = "≤" if one["better"] == "lower" else "≥"
            verdict = "" if is_met(one) else "**missed**"
            target = path.stem if path.stem.startswith("campaign-") else f"bench-{path.stem}"
            figure = f"`make {target}`: {key}"
            source = found["figures"]["in_words"][key]
            rows.append(
                f"| {figure} | {one['value']} | {sign} {one['target']} | {verdict} | {source} |"
            )
    text = README.read_text()
    before, _, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    table = "\n".join([*rows, "", f"Measured on {where}; the figures behind the ratios are in"])
    table += " [bench/results](bench/results)."
    README.write_text(f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{after}")


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
