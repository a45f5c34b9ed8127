"""The command line: each command says what it does and calls one function."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from seathold import cli_accounts, cli_record, here

# Imports wait inside the commands, so that `--help` and each process load only what they need.
app = typer.Typer(
    cls=here.Commands,
    help="Seathold: seat booking where every booking is a durable Temporal workflow.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# As `--help` groups them.
TRY, PROCESSES, DATA = "Try it", "Run its processes", "Fill its database"
WATCH, DECIDE, READ = "Watch over it", "Act for people", "Read what it promises"
app.add_typer(cli_accounts.admin, name="admin", rich_help_panel=DECIDE)
app.add_typer(cli_accounts.partners, name="partners", rich_help_panel=DECIDE)
show = typer.Typer(help="Cancel a show, and see how far that is.", no_args_is_help=True)
app.add_typer(show, name="show", rich_help_panel=DECIDE)
projections = typer.Typer(
    help="Say how far each projection is; with a command, build one anew.",
    invoke_without_command=True,
)
app.add_typer(projections, name="projections", rich_help_panel=WATCH)
app.add_typer(cli_record.events, name="events", rich_help_panel=WATCH)

# They play what costs money or reaches people.
STAND_INS = frozenset({"demo", "dev", "mail", "sandbox"})

RunDir = Annotated[Path, typer.Option(help="Where every file of the stack lives.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
# Of a greater number uvloop takes what fits in two bytes and listens there, unsaid.
PortOption = partial(typer.Option, min=0, max=65_535)
UrlOption = partial(typer.Option, callback=here.web_url)


class Ports(StrEnum):
    default = "default"
    auto = "auto"


class Role(StrEnum):
    all = "all"
    booking = "booking"
    loops = "loops"


@app.callback()
def _start(context: typer.Context) -> None:
    """In production nothing runs on a configuration that is for development."""
    from dotenv import dotenv_values

    command = context.invoked_subcommand
    if {**dotenv_values(".env"), **os.environ}.get("SEATHOLD_ENV") != "production":
        if command in here.COMMANDS:
            here.join_stack()
        return
    from infra.settings import Settings

    Settings()
    if command in STAND_INS:
        typer.echo(f"Error: `seathold {command}` is for development.", err=True)
        raise typer.Exit(2)


@app.command(rich_help_panel=TRY)
def dev(
    run_dir: RunDir = Path(".run"),
    ports: Annotated[
        Ports, typer.Option(help="The usual ports, or any free ones.")
    ] = Ports.default,
    seed: Annotated[bool, typer.Option(help="Seed the demo catalogue.")] = True,
) -> None:
    """Start the whole stack in the foreground; Ctrl-C stops it and keeps the data."""
    from seathold import dev as command

    raise typer.Exit(command.main(run_dir, ports.value, seed=seed))


@app.command(rich_help_panel=TRY)
def demo() -> None:
    """Run the main job end to end on a stack of its own and tell it as a story."""
    from seathold import demo as command
    from seathold.stack.foreground import in_foreground

    raise typer.Exit(in_foreground(command.main))


@app.command(rich_help_panel=PROCESSES)
def api(
    host: Host = "",
    port: Annotated[int, PortOption(help="Port to listen on (SEATHOLD_API_PORT).")] = 0,
    fd: Annotated[int | None, typer.Option(help="A listening socket to serve instead.")] = None,
) -> None:
    """Run the HTTP API."""
    import uvicorn

    from api.app import create_app
    from api.protocol import BoundedProtocol
    from api.server import ApiServer
    from infra.logging import configure_logging
    from infra.memory import settle_memory
    from infra.settings import Settings
    from seathold.listening import listen

    settings = Settings()
    configure_logging(settings, process="api")
    # uvicorn's own `fd` takes every socket for a UNIX one, so TCP_NODELAY would stay off: 40 ms
    # for each answer of two packets.
    own = host or settings.api_host, port or settings.api_port
    sockets = listen(*own) if fd is None else [socket.socket(fileno=fd)]
    app = create_app(settings)
    settle_memory()
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        # Whose word on the client's address counts is SEATHOLD_TRUSTED_PROXIES' business.
        proxy_headers=False,
        backlog=4096,
        timeout_graceful_shutdown=25,
    )
    ApiServer(config, app).run(sockets=sockets)


@app.command(rich_help_panel=PROCESSES)
def worker(
    role: Annotated[Role, typer.Option(help="Temporal's worker, the loops, or both.")] = Role.all,
    ready_file: Annotated[
        Path | None, typer.Option(help="A file to make once it is at work.")
    ] = None,
) -> None:
    """Run the worker; SIGTERM drains it."""
    import worker as process

    process.main(role.value, ready_file)


@app.command(rich_help_panel=PROCESSES)
def sandbox(
    host: Host = "127.0.0.1",
    port: Annotated[int, PortOption(help="Port of its API and pay page.")] = 8090,
    db: Annotated[Path, typer.Option(help="Its SQLite file.")] = Path(".run/sandbox.sqlite"),
    webhook_url: Annotated[str, UrlOption(help="Where its webhooks go.")] = (
        "http://127.0.0.1:8081/api/webhooks/sandbox"
    ),
    public_url: Annotated[str, UrlOption(help="Its address as a browser sees it.")] = "",
) -> None:
    """Run the sandbox payment provider."""
    from infra.settings import Settings
    from seathold.standins.sandbox.main import run

    secret = Settings().webhook_secret.get_secret_value()
    run(host, port, db, webhook_url, secret, public_url=public_url or None)


@app.command(rich_help_panel=PROCESSES)
def mail(
    host: Host = "127.0.0.1",
    port: Annotated[int, PortOption(help="Port of its page and API.")] = 8025,
    smtp_port: Annotated[int, PortOption(help="Port of its SMTP server.")] = 8026,
    db: Annotated[Path, typer.Option(help="Its SQLite file.")] = Path(".run/mail.sqlite"),
) -> None:
    """Run the mail and SMS sink."""
    from seathold.standins.mail.main import run

    run(host, port, smtp_port, db)


@app.command(rich_help_panel=PROCESSES)
def codec(
    host: Host = "127.0.0.1",
    port: Annotated[int, PortOption(help="Port to listen on.")] = 8088,
    ui_origin: Annotated[
        list[str] | None, typer.Option(help="Where Temporal's UI is served; may be repeated.")
    ] = None,
) -> None:
    """Run the codec server, which opens sealed payloads in Temporal's UI for staff."""
    from infra.settings import Settings
    from seathold.codec.main import run

    settings = Settings()
    if settings.env == "production" and not settings.codec_origin:
        typer.echo("Error: SEATHOLD_CODEC_ORIGIN is not set; staff log in there.", err=True)
        raise typer.Exit(2)
    run(settings, host, port, ui_origin or ["http://127.0.0.1:8233", "http://localhost:8233"])


@app.command(rich_help_panel=DATA)
def migrate(
    revision: Annotated[str, typer.Option(help="Where to go; `base` drops everything.")] = "head",
    down: Annotated[bool, typer.Option(help="Go down instead of up.")] = False,
    after_restore: Annotated[
        bool,
        typer.Option(
            "--after-restore", help="A dump came from another cluster; nothing else may run."
        ),
    ] = False,
) -> None:
    """Bring the database schema up to date."""
    from infra.postgres import migrate as migrations
    from infra.settings import Settings

    if after_restore:
        from infra.postgres.restore import forget_transaction_ids

        count = forget_transaction_ids(Settings().migrate_url)
        typer.echo(f"{count} events can be read here, each reader from where it was.")
    if down:
        migrations.downgrade(Settings(), revision)
        typer.echo(f"The schema is down, at {revision}.")
        return
    try:
        apart = migrations.upgrade(Settings(), revision)
    except migrations.EarlierDraft as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"The schema is up, at {revision}.")
    if not apart:
        typer.echo(
            "There is no role seathold_app apart from the one that migrates, so the application"
            " can rewrite the past; production refuses that (docs/events.md).",
            err=True,
        )


@app.command(rich_help_panel=DATA)
def seed() -> None:
    """Put the demo catalogue into the database; a repeat adds only what is missing."""
    from infra.settings import Settings
    from seathold.catalogue import demo as catalogue

    added = asyncio.run(catalogue.seed(Settings()))
    typer.echo(f"The demo catalogue is there; {added} shows are new.")


@app.command("import", rich_help_panel=DATA)
def import_(path: Annotated[Path, typer.Argument(help="A JSON list of films.")]) -> None:
    """Import films; every row skipped or mended is reported."""
    from infra.settings import Settings
    from seathold.catalogue.importer import import_movies

    asyncio.run(import_movies(Settings(), path, report=typer.echo))


@app.command(rich_help_panel=WATCH)
def check(
    run_dir: Annotated[Path | None, typer.Option(help="A running stack's folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check the invariants; exit 1 on a breach."""
    from seathold import check as command

    raise typer.Exit(command.main(run_dir=run_dir, as_json=as_json))


@app.command(rich_help_panel=WATCH)
def statement(
    date: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The day, in UTC.")],
    as_csv: Annotated[bool, typer.Option("--csv", help="Write CSV, in UTF-8.")] = False,
) -> None:
    """Print a day's money by show and provider."""
    from infra.settings import Settings
    from seathold import statement as command

    day = date.date()
    lines = asyncio.run(command.read(Settings(), day))
    typer.echo(command.csv_of(day, lines) if as_csv else command.table_of(day, lines), nl=False)


@app.command(rich_help_panel=WATCH)
def reconcile(
    since: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%dT%H:%M:%SZ"], help="From when on, in UTC.")
    ],
    provider: Annotated[
        str, typer.Option(help="Only this provider; else every one that is switched on.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Compare and tell; change nothing.")
    ] = False,
) -> None:
    """Compare our books with the providers' and repair; exit 1 when something is left."""
    from infra.settings import Settings
    from seathold import reconcile as command

    run = command.run(
        Settings(), since.replace(tzinfo=UTC), provider=provider or None, dry_run=dry_run
    )
    raise typer.Exit(asyncio.run(run))


@app.command(rich_help_panel=READ)
def openapi() -> None:
    """Print the OpenAPI document."""
    from api import openapi as document
    from api.app import create_app
    from infra.settings import Settings

    typer.echo(document.render(create_app(Settings())), nl=False)


@app.command(rich_help_panel=READ)
def policy() -> None:
    """Print who may call what."""
    from api import policy as access

    typer.echo(access.table(), nl=False)


@show.command("cancel")
def show_cancel(
    show_id: Annotated[UUID, typer.Argument(help="The show's id.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the audit log.")],
    dry_run: Annotated[bool, typer.Option(help="Only say what would happen.")] = False,
) -> None:
    """Stop the sale, end all holds and send everybody's money back; prints JSON."""
    from domain.errors import NotFound
    from infra.settings import Settings
    from seathold import shows

    if not reason.strip():
        raise typer.BadParameter("Say why.", param_hint="--reason")
    try:
        typer.echo(asyncio.run(shows.cancel(Settings(), show_id, reason, dry_run=dry_run)))
    except NotFound as error:
        typer.echo(error.detail, err=True)
        raise typer.Exit(1) from error


@show.command("cancellation")
def show_cancellation(
    show_id: Annotated[UUID, typer.Argument(help="The show's id.")],
) -> None:
    """Print how far the cancellation of a show is, and what came of it."""
    from infra.settings import Settings
    from seathold import shows

    told = asyncio.run(shows.cancellation(Settings(), show_id))
    if told is None:
        typer.echo("This show is not cancelled.", err=True)
        raise typer.Exit(1)
    typer.echo(told)


@projections.callback()
def projections_list(context: typer.Context) -> None:
    """Print each projection's checkpoint and how far it lags behind."""
    from infra.settings import Settings
    from seathold import projections as command

    if context.invoked_subcommand is None:
        typer.echo(asyncio.run(command.listed(Settings())))


@projections.command("rebuild")
def projections_rebuild(
    name: Annotated[str | None, typer.Argument(help="Which one; all without it.")] = None,
) -> None:
    """Build projections anew beside the live ones, then swap; selling goes on meanwhile."""
    from infra.settings import Settings
    from seathold import projections as command

    if name is not None and name not in command.NAMES:
        raise typer.BadParameter(f"There are: {', '.join(command.NAMES)}.", param_hint="name")
    names = [name] if name else command.NAMES
    whisper = partial(typer.echo, err=True)
    raise typer.Exit(asyncio.run(command.rebuild(Settings(), names, typer.echo, whisper)))


# Not above: the group of the first command is the first that `--help` shows.
app.command("audit", rich_help_panel=WATCH)(cli_record.audit)


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A film's title fits into no other encoding that a terminal may be set to.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8")
    app()
