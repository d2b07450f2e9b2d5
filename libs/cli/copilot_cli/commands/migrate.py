"""`copilot migrate up | down | status`."""

from typing import Annotated

import typer

from copilot_cli.options import OPERATOR_PANEL, AsJson, Yes


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Bring the database's schema up, down, or show where it is.")
    for command in (up, down, status):
        group.command()(command)
    app.add_typer(group, name="migrate", rich_help_panel=OPERATOR_PANEL)


def up(as_json: AsJson = False) -> None:
    """Apply what is pending. The first time it needs ADMIN_DATABASE_URL, a superuser; sets the roles' passwords."""
    import asyncio

    from copilot_cli.output import print_json, working
    from copilot_cli.places import Places
    from copilot_common.platform import migrate

    urls = Places.here().database_urls()
    with working("Migrating"):
        applied = asyncio.run(migrate.up(urls))
    if as_json:
        print_json({"applied": applied})
    else:
        print(f"Applied {_names(applied)}." if applied else "The schema is up to date.")


def down(
    to: Annotated[int, typer.Option("--to", min=0, help="The newest migration to keep; 0 keeps none.")],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Roll back, newest first. The data in what they made is lost."""
    import asyncio

    from copilot_cli.output import note, print_json, working
    from copilot_cli.places import Places
    from copilot_common.platform import migrate

    urls = Places.here().database_urls()
    applied = [one for one in asyncio.run(migrate.status(urls.migration)) if one.applied_at and one.version > to]
    if applied and not yes:
        note("This undoes:")
        for migration in reversed(migrate.available()):
            if migration.version in {one.version for one in applied}:
                note(f"  {migration.undoing}")
        note("Every table these made is dropped with all it holds: users, conversations, usage with the first of them.")
        typer.confirm("Roll back and lose that data?", abort=True, err=True)
    with working("Rolling back"):
        rolled_back = asyncio.run(migrate.down(urls, to_version=to))
    if as_json:
        print_json({"rolled_back": rolled_back})
    else:
        print(f"Rolled back {_names(rolled_back)}." if rolled_back else "Nothing to roll back.")


def status(as_json: AsJson = False) -> None:
    """Show every migration. Exits with 1 unless all of them are applied."""
    import asyncio

    from copilot_cli.output import print_json, print_table
    from copilot_cli.places import Places
    from copilot_common.platform import migrate

    states = asyncio.run(migrate.status(Places.here().owner_url()))
    if as_json:
        print_json(states)
    else:
        rows = [
            (f"{state.version:03}", state.name, state.state, state.applied_at and state.applied_at[:19])
            for state in states
        ]
        print_table(["version", "name", "state", "applied"], rows, empty="There are no migrations.")
    raise typer.Exit(0 if all(state.state == "applied" for state in states) else 1)


def _names(versions: list[int]) -> str:
    return ", ".join(f"{version:03}" for version in versions)
