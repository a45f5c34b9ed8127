"""The commands about accounts: ``seathold admin`` and ``seathold partners``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

admin = typer.Typer(help="Staff accounts.", no_args_is_help=True)
partners = typer.Typer(help="Partners' endpoints.", no_args_is_help=True)

Email = Annotated[str, typer.Option(help="The account's address.")]


@admin.command("create")
def create(
    email: Email,
    another: Annotated[
        bool, typer.Option("--another", help="Although there is an owner already.")
    ] = False,
) -> None:
    """Create the first owner; the password comes from SEATHOLD_ADMIN_PASSWORD or a prompt."""
    from infra.settings import Settings
    from seathold.admin import create_admin, refuse_owner

    with _told():
        asyncio.run(refuse_owner(Settings(), email, another=another))
    password = os.environ.get("SEATHOLD_ADMIN_PASSWORD") or typer.prompt(
        "Password", hide_input=True, confirmation_prompt=True
    )
    with _told():
        asyncio.run(create_admin(Settings(), email, password, another=another))
    typer.echo(f"{email} is an owner now.")


@admin.command("reset-second-factor")
def reset_second_factor(
    email: Email,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the audit log.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take away the second factor of somebody who lost it, and end their sessions."""
    from infra.settings import Settings
    from seathold import admin as command

    if not reason.strip():
        raise typer.BadParameter("Say why.", param_hint="--reason")
    if not yes:
        typer.confirm(f"Have you made sure that it is {email} who asks?", abort=True)
    with _told():
        ended = asyncio.run(command.reset_second_factor(Settings(), email, reason))
        typer.echo(f"The second factor is gone; {ended} sessions ended.")


@partners.command("reseal")
def reseal() -> None:
    """Seal every endpoint's secrets with the first of SEATHOLD_PARTNER_SECRET_KEYS."""
    from infra.settings import Settings
    from seathold import partners as command

    raise typer.Exit(asyncio.run(command.reseal(Settings(), typer.echo)))


@contextmanager
def _told() -> Iterator[None]:
    """What is refused is said in words; exit 1."""
    from domain.errors import SeatholdError

    try:
        yield
    except SeatholdError as error:
        for told in (error.detail, *(one["message"] for one in error.data.get("errors", ()))):
            typer.echo(told, err=True)
        raise typer.Exit(1) from error
