"""`copilot`: the one command line, for users of an API and for its operators.

Every command imports what it needs when it runs: `copilot --help` must not wait for database drivers.
"""

from importlib.metadata import entry_points, version
from typing import Annotated

import typer

from copilot_cli.commands import ALL_COMMANDS
from copilot_cli.group import CopilotGroup

_EXTENSIONS = "copilot_cli.commands"


def build_app() -> typer.Typer:
    """Our commands and those of every installed package that has an entry point of our group."""
    app = typer.Typer(
        cls=CopilotGroup,
        name="copilot",
        help="Hold conversations with an LLM CoPilot Agent, and operate one.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        callback=_root,
    )
    for register in ALL_COMMANDS:
        register(app)
    for extension in sorted(entry_points(group=_EXTENSIONS), key=lambda found: found.name):
        extension.load()(app)
    return app


def main() -> None:
    build_app()()


def _show_version(wanted: bool) -> None:
    if wanted:
        print(version("copilot-cli"))
        raise typer.Exit


def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """`debug` is read by CopilotGroup."""
