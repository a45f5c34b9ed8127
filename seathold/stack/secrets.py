"""Secrets of one stack: made once, kept with its data, readable by its owner alone."""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from seathold.stack.process import StackError


@dataclass(frozen=True)
class StackSecrets:
    """``database_password`` is the superuser's, which no process of ours is told."""

    database_password: str
    database_owner_password: str
    database_app_password: str
    jwt_seed: str
    webhook_secret: str
    admin_password: str


def load(path: Path) -> StackSecrets:
    """Read the secrets; make those that are not there yet.

    Raises:
        StackError: what is there cannot be read.
    """
    try:
        kept = dict(json.loads(path.read_text())) if path.exists() else {}
    except (OSError, ValueError, TypeError) as error:
        raise StackError(
            f"{path} cannot be read ({error}), and the data beside it opens to nothing else: put it"
            f" back, or delete {path.parent} to start over."
        ) from error
    made = StackSecrets(
        database_password=secrets.token_urlsafe(24),
        database_owner_password=secrets.token_urlsafe(24),
        database_app_password=secrets.token_urlsafe(24),
        jwt_seed=secrets.token_urlsafe(32),
        webhook_secret="whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
        admin_password=secrets.token_urlsafe(12),
    )
    whole = {**asdict(made), **kept}
    if whole != kept:
        write_private(path, json.dumps(whole, indent=1))
    return StackSecrets(**whole)


def write_private(path: Path, content: str) -> None:
    """Replace ``path`` in one step with a file that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    part.rename(path)
