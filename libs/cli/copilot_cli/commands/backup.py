"""`copilot backup`."""

from typing import Annotated

import typer

from copilot_cli.options import OPERATOR_PANEL, AsJson

_PLACE = "A directory, or s3://BUCKET/PREFIX (S3_ENDPOINT, S3_REGION, its keys)."
To = Annotated[str, typer.Option("--to", metavar="PLACE", help=_PLACE)]
From = Annotated[str, typer.Option("--from", metavar="PLACE", help=_PLACE)]


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=OPERATOR_PANEL)(backup)


def backup(
    to: To,
    keep_days: Annotated[
        int | None, typer.Option(min=1, help="Then delete those older, but for the newest. All are kept if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Dump the database as it is now, read it back, and note it as good (BACKUP_DATABASE_URL).

    A place belongs to one database. Exits with 1, and leaves no backup, where anything is wrong.
    """
    from datetime import UTC, datetime, timedelta

    from copilot_cli.backups import catalogue, logical
    from copilot_cli.backups.stopping import on_sigterm
    from copilot_cli.backups.targets import open_target
    from copilot_cli.output import print_json, working
    from copilot_cli.places import Places

    places = Places.here()
    with on_sigterm(), working("Backing up"):
        target = open_target(to, places.settings())
        made = logical.dump(places.backup_url(), target)
        keep = timedelta(days=keep_days) if keep_days else None
        deleted = catalogue.prune(target, "logical", keep=keep, now=datetime.now(UTC)) if keep else []
    if as_json:
        print_json({"backup": made, "deleted": deleted})
    else:
        print(f"{made.name}: {made.size_bytes} bytes, schema {made.schema_version}, read back and whole.")
        print("".join(f"Deleted {name}.\n" for name in deleted), end="")
