"""`copilot workflow run | watch | runs | review | cancel | retry`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

import typer

from copilot_cli.options import AsJson, Limit

if TYPE_CHECKING:
    from copilot_cli.client.run_types import Run

Status = Literal["pending", "running", "waiting", "completed", "failed", "cancelled"]
RunId = Annotated[UUID, typer.Argument(metavar="RUN", help="From `runs`.")]


def register(group: typer.Typer) -> None:
    group.command()(run)
    group.command()(watch)
    group.command()(runs)
    group.command()(review)
    group.command()(cancel)
    group.command()(retry)


def run(
    workflow: Annotated[str, typer.Argument(metavar="NAME_OR_ID", help="From `list`.")],
    given: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="NAME=VALUE", help="JSON, or a text; repeat for several."),
    ] = None,
    inputs: Annotated[
        Path | None, typer.Option("--inputs", exists=True, dir_okay=False, help="A file with all inputs: JSON or YAML.")
    ] = None,
    watching: Annotated[bool, typer.Option("--watch", "-w", help="Show it to its end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start a run."""
    from copilot_cli.client import ApiClient
    from copilot_cli.definitions import find_workflow, read_inputs
    from copilot_cli.output import note, print_json
    from copilot_cli.places import Places
    from copilot_cli.watching import watch as show_to_its_end

    values = read_inputs(inputs, given or [])
    with ApiClient(Places.here().remote()) as client:
        started = client.runs.start(find_workflow(client, workflow), values)
        if not watching:
            print_json(started) if as_json else print(started.id)
            if not as_json:
                note(f"To see it: copilot workflow watch {started.id}")
        elif not show_to_its_end(client, started.id, as_json=as_json):
            raise typer.Exit(1)


def watch(run_id: RunId, as_json: AsJson = False) -> None:
    """Show a run to its end, from its beginning on. With --json its events, one a line."""
    from copilot_cli.client import ApiClient
    from copilot_cli.places import Places
    from copilot_cli.watching import watch as show_to_its_end

    with ApiClient(Places.here().remote()) as client:
        if not show_to_its_end(client, run_id, as_json=as_json):
            raise typer.Exit(1)


def runs(
    status: Annotated[Status | None, typer.Option(help="With this status only.")] = None,
    workflow: Annotated[str | None, typer.Option(metavar="NAME_OR_ID", help="Of this workflow only.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    from copilot_cli.client import ApiClient
    from copilot_cli.definitions import MOST_WORKFLOWS, find_workflow
    from copilot_cli.output import print_json, print_table
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        workflow_id = find_workflow(client, workflow) if workflow is not None else None
        found = list(client.runs.list(limit, workflow_id=workflow_id, status=status))
        if as_json:
            print_json(found)
            return
        names = {one.id: one.name for one in client.workflows.list(MOST_WORKFLOWS)} if found else {}
    rows = [_row(one, names.get(one.workflow_id)) for one in found]
    empty = "No such runs." if status or workflow else "No runs yet: copilot workflow run NAME"
    print_table(["id", "workflow", "version", "status", "step", "created", "took"], rows, empty=empty)


def review(
    run_id: RunId,
    approve: Annotated[bool, typer.Option("--approve", help="Without asking.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="Without asking.")] = False,
    comment: Annotated[str | None, typer.Option(help="What later steps and readers see with it.")] = None,
    review_id: Annotated[
        UUID | None, typer.Option("--review", metavar="ID", help="Which, where several are open.")
    ] = None,
) -> None:
    """Show what a run asks, and answer it."""
    from copilot_cli.client import ApiClient
    from copilot_cli.places import Places
    from copilot_cli.reviewing import answer_reviews

    if approve and reject:
        raise typer.BadParameter("cannot be both", param_hint="--approve, --reject")
    decision: Literal["approve", "reject"] | None = "approve" if approve else "reject" if reject else None
    with ApiClient(Places.here().remote()) as client:
        answer_reviews(client, run_id, decision=decision, comment=comment, review_id=review_id)


def cancel(run_id: RunId, as_json: AsJson = False) -> None:
    """End a run; steps that are being done are stopped."""
    from copilot_cli.client import ApiClient
    from copilot_cli.output import note, print_json
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        found = client.runs.cancel(run_id)
    if as_json:
        print_json(found)
        return
    print(f"Run {found.id} is being cancelled.")
    note(f"How it ended: copilot workflow watch {found.id}")


def retry(run_id: RunId, as_json: AsJson = False) -> None:
    """Begin a failed run again at the step that failed; what has completed is kept."""
    from copilot_cli.client import ApiClient
    from copilot_cli.output import note, print_json
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        found = client.runs.retry(run_id)
    if as_json:
        print_json(found)
        return
    print(f"Run {found.id} is {found.status} again.")
    note(f"To see it: copilot workflow watch {found.id}")


def _row(run: "Run", workflow: str | None) -> tuple[object, ...]:
    """`workflow` is its name, unless it was deleted."""
    shown = workflow if workflow is not None else run.workflow_id
    return run.id, shown, run.version, run.status, _where(run), run.created_at, _took(run)


def _where(run: "Run") -> str | None:
    """The step it is at, or failed at."""
    if run.error is not None:
        return f"{run.error.step} {run.error.code}".strip()
    return run.current_step if run.status in {"running", "waiting"} else None


def _took(run: "Run") -> str | None:
    from copilot_cli.run_tree import duration

    return duration(run.started_at, run.completed_at) if run.started_at and run.completed_at else None
