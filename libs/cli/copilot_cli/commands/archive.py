"""`copilot archive`."""

from pathlib import Path
from typing import Annotated

import typer

from copilot_cli.commands.backup import To
from copilot_cli.options import OPERATOR_PANEL


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=OPERATOR_PANEL)(archive)


def archive(
    to: To,
    spool: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Durable, where WAL waits to be sent; PLACE/spool if PLACE is a directory."),
    ] = None,
    base_hours: Annotated[float, typer.Option(min=0.01, help="Between two base backups.")] = 24,
    keep_days: Annotated[int, typer.Option(min=1, help="Every moment of so many days can be restored.")] = 14,
) -> None:
    """Keep WAL and base backups, so that `copilot restore cluster` can go to any moment (BACKUP_DATABASE_URL).

    Runs until SIGTERM or Ctrl-C. A place belongs to one server, and has one archiver.
    """
    from datetime import timedelta

    from copilot_cli.backups.archive import Archiver, default_spool
    from copilot_cli.backups.stopping import stop_event
    from copilot_cli.backups.targets import open_target
    from copilot_cli.output import note
    from copilot_cli.places import Places

    places = Places.here()
    target = open_target(to, places.settings())
    folder = spool or default_spool(target)
    if folder is None:
        raise typer.BadParameter("A bucket needs one: a directory on a disk that stays.", param_hint="--spool")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with stop_event() as stop:
        Archiver(
            url=places.backup_url(),
            target=target,
            spool=folder,
            base_every=timedelta(hours=base_hours),
            keep=timedelta(days=keep_days),
            say=note,
        ).run(stop)
