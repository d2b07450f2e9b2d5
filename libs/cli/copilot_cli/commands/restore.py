"""`copilot restore`: a dump into a database, or a data directory that recovers to a moment."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from copilot_cli.commands.backup import From
from copilot_cli.options import OPERATOR_PANEL, AsJson

if TYPE_CHECKING:
    from copilot_cli.backups.targets import Target
    from copilot_cli.places import Places

Name = Annotated[str | None, typer.Option("--name", help="Which one; the newest if left out.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Bring back a backup, or list those there are.")
    for command, name in ((list_, "list"), (database, "database"), (cluster, "cluster")):
        group.command(name)(command)
    app.add_typer(group, name="restore", rich_help_panel=OPERATOR_PANEL)


def list_(from_: From, as_json: AsJson = False) -> None:
    """Show the good backups, the oldest first."""
    from copilot_cli.backups.catalogue import backups
    from copilot_cli.output import print_json, print_table

    found = backups(_open(from_))
    if as_json:
        print_json(found)
        return
    rows = [(one.name, one.kind, one.finished_at, one.size_bytes, one.schema_version) for one in found]
    print_table(["name", "kind", "finished", "bytes", "schema"], rows, empty="There is no backup.")


def database(
    from_: From,
    name: Name = None,
    overwrite: Annotated[
        str | None, typer.Option(metavar="DATABASE", help="Its name, where there is something in it: all of that goes.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load a dump into the database of ADMIN_DATABASE_URL, which must be empty; make the roles, check it.

    It is read through before anything is changed. Stop the services first. Exits with 1 where a check fails, say
    because ENCRYPTION_KEY is not the one that the content was sealed under.
    """
    import asyncio

    from psycopg.conninfo import make_conninfo

    from copilot_cli.backups import catalogue, logical
    from copilot_cli.backups.stopping import on_sigterm
    from copilot_cli.checks.database import check_restored
    from copilot_cli.commands.doctor import print_checks
    from copilot_cli.output import print_json, working
    from copilot_cli.places import Places
    from copilot_common.platform import migrate

    places, target = Places.here(), _open(from_)
    admin_url, key = places.admin_url(), _key(places)
    with on_sigterm(), working("Restoring"):
        backup = catalogue.choose(target, "logical", name=name)
        into = logical.prepare(admin_url, backup, overwrite=overwrite)
        logical.check(target, backup)
        asyncio.run(migrate.make_roles(make_conninfo(admin_url, dbname=into)))
        logical.load(admin_url, target, backup, into)
        checks = asyncio.run(check_restored(admin_url, key))
    if as_json:
        print_json({"restored": backup, "checks": checks})
    else:
        print(f"{backup.name} is restored, as of {backup.started_at:%Y-%m-%d %H:%M:%S} UTC.")
        print_checks(checks)
        print("Next: copilot migrate up, which gives the roles their passwords and brings an older schema up.")
    raise typer.Exit(0 if all(check.status != "fail" for check in checks) else 1)


def cluster(
    from_: From,
    into: Annotated[
        Path, typer.Option(metavar="DIR", help="The data directory to make: empty, or not there yet.", file_okay=False)
    ],
    moment: Annotated[
        str | None,
        typer.Option("--to-moment", metavar="TIME", help="2026-11-26T09:30:00Z; as far as there is WAL, if left out."),
    ] = None,
    spool: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The archiver's, if it is left: it has the last minutes.")
    ] = None,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Make a data directory of a base backup and the archived WAL. A server started on it recovers to the moment.

    Run it as the account that the server runs as. Nothing that is there is changed.
    """
    from copilot_cli.backups import catalogue, physical
    from copilot_cli.backups.archive import default_spool
    from copilot_cli.backups.stopping import on_sigterm
    from copilot_cli.output import note, print_json, working

    until = _moment(moment) if moment else None
    with on_sigterm(), working("Restoring"):
        target = _open(from_)
        backup = catalogue.choose(target, "physical", name=name, before=until)
        restored = physical.restore(target, backup, into, moment=until, spool=spool or default_spool(target))
    if restored.missing_wal:
        note(f"WAL {restored.missing_wal} is missing: nothing later can be reached.", style="yellow")
    if as_json:
        print_json(restored)
        return
    print(f"{into} is of {backup.name}, with {restored.segments} segments of WAL.")
    print("Start PostgreSQL on it: it recovers, then takes writes. Then: copilot doctor")


def _open(place: str) -> "Target":
    from copilot_cli.backups.targets import open_target
    from copilot_cli.places import Places

    return open_target(place, Places.here().settings())


def _key(places: "Places") -> bytes | None:
    """None where there is none. Raises SettingsError where it can be none."""
    from copilot_cli.places import encryption_key

    return encryption_key(places) if places.settings().get("ENCRYPTION_KEY") else None


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time like 2026-11-26T09:30:00Z", param_hint="--to-moment") from None
    if moment.tzinfo is None:
        raise typer.BadParameter("It needs its time zone: 2026-11-26T09:30:00Z", param_hint="--to-moment")
    return moment
