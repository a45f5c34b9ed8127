"""Where a command works when nobody names a database, and what it says when it cannot."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


# As a shell tells it of whoever that signal ended; 1 would be a breach, or something left over.
NOBODY_READS = 128 + signal.SIGPIPE


class Commands(TyperGroup):
    """Says what keeps a command from its work, where that can be mended; exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        with _while_it_is_read():
            return self._invoke(ctx)

    def _invoke(self, ctx: Any) -> Any:
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


def web_url(value: str) -> str:
    """The option's ``value``: an address of the web, or nothing."""
    from seathold.standins.sandbox.shapes import web_url as judged

    try:
        return value and judged(value)
    except ValueError as error:
        raise typer.BadParameter(f"It {error}.") from None


@contextmanager
def _while_it_is_read() -> Iterator[None]:
    """Who reads no further (``| head``) has seen enough: the command ends and says nothing."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads():
            raise  # it is another pipe's: a server's, say
        # What waits to be written would be tried once more at the end, and complained about.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        raise typer.Exit(NOBODY_READS) from None


def _nobody_reads() -> bool:
    """Whether the other end of what we print into is closed."""
    output = select.poll()
    output.register(1, 0)  # what went wrong with it is told without being asked for
    return bool(output.poll(0))


def _reasons_of(error: Exception) -> list[str] | None:
    """What to mend: the settings, a guard, or a server that is away. None for anything else."""
    import psycopg
    from pydantic import ValidationError
    from temporalio.service import RPCError

    from infra.postgres.guards import Unguarded
    from infra.settings import Settings, refusals
    from seathold.listening import CannotListen
    from services.process import ProcessAway

    cause = getattr(error, "orig", None) or error
    if isinstance(cause, ValidationError) and cause.title == Settings.__name__:
        return refusals(cause)
    if isinstance(cause, NoDatabase | Unguarded | CannotListen):
        return [str(cause)]
    if isinstance(cause, psycopg.OperationalError) and cause.sqlstate is None:
        first = str(cause).strip().partition("\n")[0]
        if " FATAL: " in first and (DEFAULT_RUN_DIR / "dev.json").exists():
            fix = (
                "Name the database with SEATHOLD_DATABASE_URL (for `seathold migrate` with"
                " SEATHOLD_MIGRATE_DATABASE_URL); that of the stack here is in .run/dev.json."
            )
        else:
            fix = "Start `seathold dev`, or name a database with SEATHOLD_DATABASE_URL."
        return [f"{first}. {fix}"]
    # A connection that is made at once says so by a bare RuntimeError.
    if isinstance(cause, ProcessAway | RPCError) or "Failed client connect" in str(cause):
        return [f"Temporal: {cause}. Start `seathold dev`, or name a server with TEMPORAL_ADDRESS."]
    return None
