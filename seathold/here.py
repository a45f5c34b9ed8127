"""Where a command works when nobody names a database, and what it says when it cannot."""

from __future__ import annotations

import os
from typing import Any

import typer
from dotenv import dotenv_values
from typer.core import TyperGroup

from seathold.checker.inputs import DEFAULT_RUN_DIR, ENVIRONMENT, NoDatabase, stack_in

# They work on a database that is there.
COMMANDS = frozenset(
    {
        "admin",
        "audit",
        "events",
        "import",
        "partners",
        "projections",
        "reconcile",
        "seed",
        "show",
        "statement",
    }
)


class Commands(TyperGroup):
    """Says what keeps a command from its work, where that can be mended; exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if (reasons := _reasons_of(error)) is None:
                raise
            for reason in reasons:
                typer.echo(f"Error: {reason}", err=True)
            raise typer.Exit(2) from error


def join_stack() -> None:
    """Work on the stack that runs in ``.run``, unless the environment or ``.env`` names a database.

    What they name besides stays as it is.

    Raises:
        NoDatabase: the stack in ``.run`` is somebody else's.
    """
    given = {**dotenv_values(".env"), **os.environ}
    if given.get(ENVIRONMENT["database_url"]):
        return
    if not (DEFAULT_RUN_DIR / "dev.json").exists():
        return
    for key, told in stack_in(DEFAULT_RUN_DIR).items():
        if not given.get(ENVIRONMENT[key]):
            os.environ[ENVIRONMENT[key]] = told


def _reasons_of(error: Exception) -> list[str] | None:
    """What to mend: the settings, a guard, or a server that is away. None for anything else."""
    import psycopg
    from pydantic import ValidationError
    from temporalio.service import RPCError

    from infra.postgres.guards import Unguarded
    from infra.settings import Settings, refusals
    from services.process import ProcessAway

    cause = getattr(error, "orig", None) or error
    if isinstance(cause, ValidationError) and cause.title == Settings.__name__:
        return refusals(cause)
    if isinstance(cause, NoDatabase | Unguarded):
        return [str(cause)]
    if isinstance(cause, psycopg.OperationalError) and cause.sqlstate is None:
        first = str(cause).strip().partition("\n")[0]
        return [f"{first}. Start `seathold dev`, or name a database with SEATHOLD_DATABASE_URL."]
    # A connection that is made at once says so by a bare RuntimeError.
    if isinstance(cause, ProcessAway | RPCError) or "Failed client connect" in str(cause):
        return [f"Temporal: {cause}. Start `seathold dev`, or name a server with TEMPORAL_ADDRESS."]
    return None
