"""`copilot workflow apply | list | show | graph | delete`, and the commands for runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from copilot_cli.commands import workflow_runs
from copilot_cli.options import USER_PANEL, AsJson, Limit, Yes

if TYPE_CHECKING:
    from copilot_cli.client import ApiError

WorkflowName = Annotated[str, typer.Argument(metavar="NAME_OR_ID", help="From `list`.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Keep workflows, run them, and watch them run.")
    group.command()(apply)
    group.command("list")(list_)
    group.command()(show)
    group.command()(graph)
    group.command()(delete)
    workflow_runs.register(group)
    app.add_typer(group, name="workflow", rich_help_panel=USER_PANEL)


def apply(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A definition: .yaml, .yml or .json.")],
    workflow_id: Annotated[
        UUID | None, typer.Option("--id", help="Of the workflow that gets a new version, whatever its name.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a workflow, or give the one of that name a new version."""
    from copilot_cli.client import ApiClient, ApiError
    from copilot_cli.definitions import read_definition, same_name
    from copilot_cli.output import note, print_json
    from copilot_cli.places import Places

    definition = read_definition(file)
    with ApiClient(Places.here().remote()) as client:
        known = workflow_id or (same_name(client, definition.name) if definition.name is not None else None)
        try:
            if known is None:
                made = client.workflows.create(definition.content, definition.media_type)
            else:
                made = client.workflows.replace(known, definition.content, definition.media_type)
        except ApiError as error:
            if not error.fields:
                raise
            _print_faults(file, error)
            raise typer.Exit(1) from None
    if as_json:
        print_json({"id": made.id, "name": made.name, "version": made.version})
        return
    print(f"{made.id}  version {made.version}")
    note(f"To run it: copilot workflow run {made.id}")


def list_(limit: Limit = 20, as_json: AsJson = False) -> None:
    """List workflows, the newest first."""
    from copilot_cli.client import ApiClient
    from copilot_cli.output import print_json, print_table
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        found = list(client.workflows.list(limit))
    if as_json:
        print_json(found)
        return
    rows = [(one.id, one.name, one.version, one.updated_at, one.description) for one in found]
    columns = ["id", "name", "version", "updated", "description"]
    print_table(columns, rows, empty="No workflows yet: copilot workflow apply FILE")


def show(workflow: WorkflowName, as_json: AsJson = False) -> None:
    """Show a workflow and its steps; with --json its whole definition."""
    from copilot_cli.client import ApiClient
    from copilot_cli.definitions import find_workflow
    from copilot_cli.output import print_fields, print_json, print_table
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        workflow_id = find_workflow(client, workflow)
        if as_json:
            print_json(client.workflows.definition(workflow_id))
            return
        found = client.workflows.show(workflow_id)
    print_fields(
        {
            "id": found.id,
            "name": found.name,
            "description": found.description,
            "version": found.version,
            "begins with": found.entry_point,
            "created": found.created_at,
            "updated": found.updated_at,
        }
    )
    print()
    rows = [(step.id, step.type, step.name, step.next_steps or None) for step in found.steps]
    print_table(["step", "type", "name", "then"], rows, empty="")


def graph(
    workflow: WorkflowName,
    run: Annotated[UUID | None, typer.Option("--run", help="Of this run, with the state of each step.")] = None,
) -> None:
    """Draw a workflow, as a Mermaid flowchart."""
    from copilot_cli.client import ApiClient
    from copilot_cli.definitions import find_workflow
    from copilot_cli.output import printable
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        print(printable(client.workflows.graph(find_workflow(client, workflow), run_id=run)), end="")


def delete(workflow: WorkflowName, yes: Yes = False, as_json: AsJson = False) -> None:
    """Delete a workflow; runs that have begun go on."""
    from copilot_cli.client import ApiClient
    from copilot_cli.definitions import find_workflow
    from copilot_cli.output import print_json, printable
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        found = client.workflows.show(find_workflow(client, workflow))
        if not yes:
            typer.confirm(f"Delete {printable(found.name)}?", abort=True, err=True)
        client.workflows.remove(found.id)
    if as_json:
        print_json({"deleted": found.id})
    else:
        print(f"Deleted {found.id}.")


def _print_faults(file: Path, error: "ApiError") -> None:
    from copilot_cli.output import note, printable

    note(f"{file} is no valid workflow:", style="red")
    for path, problem in error.fields.items():
        note(printable(f"  {path}: {problem}" if path else f"  {problem}"))
