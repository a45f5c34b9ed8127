"""docker-compose.yml as the tests read it: variables filled in, sections as plain data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
OURS = ("migrate", "seed", "mail", "sandbox", "codec", "worker", "api")
VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+):-(?P<default>[^}]*)\}")

Service = dict[str, Any]


def load(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file as Compose would see it with ``environment``; ``${NAME:-default}`` is filled in."""
    given = environment or {}

    def fill(found: re.Match[str]) -> str:
        # `:-` means: the default also stands in for an empty value.
        return given.get(found["name"]) or found["default"]

    text = VARIABLE.sub(fill, FILE.read_text(encoding="utf-8"))
    assert "${" not in text, "every variable needs a default for development"
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def services(environment: Mapping[str, str] | None = None) -> dict[str, Service]:
    found: dict[str, Service] = load(environment)["services"]
    return found


def defaults() -> dict[str, str]:
    """Every ``${NAME:-default}`` of the file; one name has one default."""
    found: dict[str, str] = {}
    for match in VARIABLE.finditer(FILE.read_text(encoding="utf-8")):
        assert found.setdefault(match["name"], match["default"]) == match["default"]
    return found
