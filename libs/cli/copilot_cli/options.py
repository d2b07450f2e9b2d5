"""Options that many commands share."""

from typing import Annotated

import typer

USER_PANEL = "Talk to an API (COPILOT_URL, COPILOT_API_KEY)"
OPERATOR_PANEL = "Operate a database (MIGRATION_DATABASE_URL)"

AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")]
GeneratePassword = Annotated[
    bool, typer.Option("--generate-password", help="Make one and show it once, instead of asking for it.")
]


def pairs(given: list[str]) -> dict[str, str]:
    """Of `--metadata`."""
    pairs = {}
    for text in given:
        key, separator, value = text.partition("=")
        if not key or not separator:
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--metadata")
        pairs[key] = value
    return pairs
