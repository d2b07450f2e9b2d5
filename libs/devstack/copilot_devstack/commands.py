"""`copilot up | down | status | logs | reset`, added to the CLI through the entry point `copilot_cli.commands`.

Only typer is imported up front: every `copilot` command loads this module.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from copilot_devstack.demo.command import demo

if TYPE_CHECKING:
    from copilot_devstack.stack import Stack


def register(app: typer.Typer) -> None:
    for command in (up, down, status, logs, reset, demo):
        app.command(rich_help_panel="Development stack")(command)


def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when it is ready; `copilot down` ends it.")
    ] = False,
) -> None:
    """Start the whole stack, all embedded. Starts only what is missing; Ctrl-C ends all of it."""
    from copilot_devstack.terminal import bring_up, reporting, stay

    with reporting():
        if detach:
            bring_up(_stack())
        else:
            stay(_stack(ends_with_parent=True))


def down() -> None:
    """Stop the stack. Its data stays."""
    from copilot_devstack.terminal import bring_down, reporting

    with reporting():
        bring_down(_stack())


def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what runs, where, and its log. Exits with 1 when a part is down."""
    from copilot_devstack.terminal import reporting, show_status

    with reporting():
        raise typer.Exit(0 if show_status(_stack(), as_json=as_json) else 1)


def logs(
    service: Annotated[
        str | None, typer.Argument(help="postgres, redis, api or a worker's name; all of them if left out.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 50,
) -> None:
    """Show the end of the logs."""
    from copilot_devstack.logs import show_logs
    from copilot_devstack.terminal import reporting

    with reporting():
        show_logs(_stack(), service, lines=lines, follow_on=follow)


def reset(yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Stop the stack and delete all its data, secrets and logs."""
    from copilot_devstack.terminal import reporting, start_afresh

    stack = _stack()
    if not yes:
        typer.confirm(f"Delete every conversation, key and log in {stack.home.path}?", abort=True)
    with reporting():
        start_afresh(stack)


def _stack(*, ends_with_parent: bool = False) -> "Stack":
    import os
    from pathlib import Path

    from copilot_devstack.home import find_home
    from copilot_devstack.stack import Stack

    return Stack(find_home(os.environ, Path.cwd()), dict(os.environ), ends_with_parent=ends_with_parent)
