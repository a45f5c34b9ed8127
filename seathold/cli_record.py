"""The commands about the record: ``seathold events`` and ``seathold audit``."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Annotated
from uuid import UUID

import typer

events = typer.Typer(
    help="Look at the event store, follow it, verify its hash chains.", no_args_is_help=True
)

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Aggregate = Annotated[UUID, typer.Argument(help="A booking's, show's or user's id.")]


@events.command("tail")
def tail(
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, max=10_000)] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    event_type: Annotated[str | None, typer.Option("--type", help="Only this type.")] = None,
    aggregate: Annotated[UUID | None, typer.Option(help="Only this aggregate.")] = None,
    as_json: Json = False,
) -> None:
    """Print the newest events, oldest first."""
    from seathold import events as command

    try:
        command.tail(
            _url(),
            typer.echo,
            limit=limit,
            follow=follow,
            event_type=event_type,
            aggregate=aggregate,
            as_json=as_json,
        )
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@events.command("show")
def show(aggregate: Aggregate, as_json: Json = False) -> None:
    """Print one stream from its beginning; exit 1 when there is none."""
    from seathold import events as command

    if not command.show(_url(), typer.echo, aggregate, as_json=as_json):
        typer.echo(f"There is no event of {aggregate}.", err=True)
        raise typer.Exit(1)


@events.command("verify")
def verify(
    aggregate: Annotated[
        UUID | None, typer.Argument(help="A booking's, show's or user's id.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every stream there is.")] = False,
) -> None:
    """Recompute the hash chains; name the event that broke, and exit 1."""
    from seathold import events as command

    if (aggregate is None) is not everything:
        raise typer.BadParameter("Name an aggregate, or say --all.")
    whisper = partial(typer.echo, err=True)
    if not command.verify(_url(), typer.echo, whisper, aggregate):
        raise typer.Exit(1)


def audit(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000)] = 20,
    actor: Annotated[str | None, typer.Option(help="Only of this account or operator.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this, as `case.resolve`.")] = None,
    target: Annotated[str | None, typer.Option(help="Only of this, as `show:ID`.")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"], help="In UTC.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Recompute the chain instead; exit 1 if it broke.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print what people with power did, oldest first, or verify the chain over all of it."""
    from seathold import audit as command

    if verify:
        raise typer.Exit(0 if command.verify(_url(), typer.echo) else 1)
    command.newest(
        _url(),
        typer.echo,
        limit=limit,
        actor=actor,
        action=action,
        target=target,
        since=since.replace(tzinfo=UTC) if since else None,
        as_json=as_json,
    )


def _url() -> str:
    from infra.settings import Settings

    return Settings().database_url.get_secret_value()
