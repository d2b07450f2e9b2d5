"""`copilot bootstrap`: the first tenant, its owner, and a key."""

from typing import Annotated

import typer

from copilot_cli.options import OPERATOR_PANEL, AsJson, GeneratePassword


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=OPERATOR_PANEL)(bootstrap)


def bootstrap(
    email: Annotated[str, typer.Option(help="The owner's e-mail.")],
    username: Annotated[str, typer.Option(help="The owner's username.")] = "admin",
    tenant: Annotated[str, typer.Option(help="The tenant's slug: a-z, 0-9 and hyphens.")] = "main",
    name: Annotated[str | None, typer.Option(help="The tenant's name; its slug if left out.")] = None,
    generate_password: GeneratePassword = False,
    as_json: AsJson = False,
) -> None:
    """Make the first tenant, its owner and a key with every scope, shown once. Run again it changes nothing.

    The password comes from COPILOT_PASSWORD, else it is asked for.
    """
    from copilot_cli.founding import found, show

    founded = found(slug=tenant, name=name, email=email, username=username, generate_password=generate_password)
    show(founded, as_json=as_json)
