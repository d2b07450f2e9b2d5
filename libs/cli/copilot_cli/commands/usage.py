"""`copilot usage`."""

from datetime import datetime
from typing import Annotated, Literal

import typer

from copilot_cli.options import USER_PANEL, AsJson

GroupBy = Literal["day", "model", "user", "api_key"]
_DAY = ["%Y-%m-%d"]


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=USER_PANEL)(usage)


def usage(
    since: Annotated[datetime | None, typer.Option("--from", formats=_DAY, help="The first day (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option("--to", formats=_DAY, help="The day to stop before.")] = None,
    group_by: Annotated[GroupBy, typer.Option(help="One row for each.")] = "day",
    as_json: AsJson = False,
) -> None:
    """Show requests, tokens and cost."""
    from copilot_cli.client import ApiClient
    from copilot_cli.output import money, print_json, print_table
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        rows = client.usage(
            since=since.date() if since else None, until=until.date() if until else None, group_by=group_by
        )
    if as_json:
        print_json(rows)
        return
    columns = [group_by.replace("_", " "), "requests", "input tokens", "cached of these", "output tokens", "cost"]
    shown = [
        (row.key, row.requests, row.input_tokens, row.cached_tokens, row.output_tokens, money(row.cost_usd))
        for row in rows
    ]
    print_table(columns, shown, empty="Nothing was used in that time.")
