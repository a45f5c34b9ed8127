"""Where to look: addresses and limits from arguments, a run directory, the environment, .env."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Self

from dotenv import dotenv_values

DEFAULT_RUN_DIR = Path(".run")
ENVIRONMENT = {
    "database_url": "SEATHOLD_DATABASE_URL",
    "sandbox_url": "SEATHOLD_SANDBOX_URL",
    "mail_url": "SEATHOLD_MAIL_URL",
    "redis_url": "SEATHOLD_REDIS_URL",
    "temporal_address": "TEMPORAL_ADDRESS",
    "temporal_namespace": "TEMPORAL_NAMESPACE",
    "payment_grace_seconds": "SEATHOLD_PAYMENT_GRACE_SECONDS",
    "settling_grace_seconds": "SEATHOLD_PAYMENT_SETTLING_GRACE_SECONDS",
    "max_seats_per_booking": "SEATHOLD_MAX_SEATS_PER_BOOKING",
    "max_seats_per_user_show": "SEATHOLD_MAX_SEATS_PER_USER_SHOW",
    "max_live_holds_per_user": "SEATHOLD_MAX_LIVE_HOLDS_PER_USER",
    "hold_grace_seconds": "SEATHOLD_CHECK_GRACE_SECONDS",
    "settle_seconds": "SEATHOLD_CHECK_SETTLE_SECONDS",
    "partner_secret_keys": "SEATHOLD_PARTNER_SECRET_KEYS",
}
# The development ring, as the settings have it.
PARTNER_KEYS = "dev:c2VhdGhvbGQtZGV2ZWxvcG1lbnQtcGFydG5lci1rZXk="


class NoDatabase(Exception):
    """No database was named or it cannot be read: there is nothing to check."""


@dataclass(frozen=True)
class Inputs:
    """``None``: that part is reported as not run. Limits default as the settings do.

    ``hold_grace_seconds`` is how long after its end a hold may still be open;
    ``settle_seconds`` how long a difference with another server is looked at again.
    """

    database_url: str
    sandbox_url: str | None = None
    mail_url: str | None = None
    redis_url: str | None = None
    temporal_address: str | None = None
    temporal_namespace: str = "default"
    payment_grace_seconds: int = 120
    settling_grace_seconds: int = 600
    max_seats_per_booking: int = 10
    max_seats_per_user_show: int = 20
    max_live_holds_per_user: int = 3
    hold_grace_seconds: int = 30
    settle_seconds: float = 10.0
    partner_secret_keys: str = field(default=PARTNER_KEYS, repr=False)

    @classmethod
    def read(cls, run_dir: Path | None = None, environ: Mapping[str, str] | None = None) -> Self:
        """From ``run_dir/dev.json``, then the environment, then ``.env``, as a stack reads them.

        When none of them names a database, a stack running in ``.run`` does; when the one in
        ``.run`` runs on the database that was named, it tells where its other parts are.

        Raises:
            NoDatabase: no database is named, or the run directory has no stack.
        """
        given = {**dotenv_values(".env"), **os.environ} if environ is None else environ
        known = {key: told for key, name in ENVIRONMENT.items() if (told := given.get(name))}
        if run_dir is not None:
            known |= stack_in(run_dir)
        elif "database_url" not in known:
            known |= stack_in(DEFAULT_RUN_DIR)
        else:
            with suppress(NoDatabase):
                running = stack_in(DEFAULT_RUN_DIR)
                if running.get("database_url") == known["database_url"]:
                    known = running | known
        if "database_url" not in known:
            raise NoDatabase("Name a database: --run-dir, or SEATHOLD_DATABASE_URL.")
        numbers = {"int": int, "float": float}
        read = {field.name: numbers.get(str(field.type), str) for field in fields(cls)}
        return cls(**{key: read[key](told) for key, told in known.items()})


def stack_in(run_dir: Path) -> dict[str, str]:
    """What the stack that runs there says of itself, as far as ``ENVIRONMENT`` names it.

    Raises:
        NoDatabase: none runs there, or it is somebody else's.
    """
    path = run_dir / "dev.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(told, dict):
            raise ValueError("it holds no object")  # noqa: TRY004 -- damaged like the rest
    except (PermissionError, ValueError) as error:
        raise NoDatabase(
            f"{path} cannot be read ({error}): run this as the account that started the stack, or"
            " name a database with SEATHOLD_DATABASE_URL."
        ) from None
    except (FileNotFoundError, NotADirectoryError):
        raise NoDatabase(
            f"No stack is running there ({path} is missing): start `seathold dev`,"
            " or name a database with SEATHOLD_DATABASE_URL."
        ) from None
    return {key: told[key] for key in ENVIRONMENT if key in told}
