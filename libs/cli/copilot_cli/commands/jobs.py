"""`copilot jobs list | show | redrive`."""

from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

import typer

from copilot_cli.options import USER_PANEL, AsJson, Limit

if TYPE_CHECKING:
    from copilot_cli.client.types import Job

JobId = Annotated[UUID, typer.Argument(help="From `list`.")]
Queue = Literal["workflow", "context"]
Status = Literal["pending", "scheduled", "running", "completed", "cancelled", "dead"]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Look at background work, and begin dead jobs anew.")
    group.command("list")(list_)
    group.command()(show)
    group.command()(redrive)
    app.add_typer(group, name="jobs", rich_help_panel=USER_PANEL)


def list_(
    queue: Annotated[Queue | None, typer.Option(help="Of one queue only.")] = None,
    status: Annotated[Status | None, typer.Option(help="With this status only.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List the tenant's jobs, the newest first. For its admins."""
    from copilot_cli.client import ApiClient
    from copilot_cli.output import print_json, print_table
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        found = list(client.jobs.list(limit, queue=queue, status=status))
    if as_json:
        print_json(found)
        return
    columns = ["id", "kind", "queue", "status", "failures", "error", "created", "took"]
    rows = [
        (job.id, job.kind, job.queue, job.status, _failures(job), job.error_code, job.created_at, _took(job))
        for job in found
    ]
    print_table(columns, rows, empty="No such jobs." if queue or status else "No jobs yet: copilot context add FILE")


def show(job_id: JobId, as_json: AsJson = False) -> None:
    """Show one job."""
    from copilot_cli.client import ApiClient
    from copilot_cli.output import note, print_fields, print_json
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        job = client.jobs.show(job_id)
    if as_json:
        print_json(job)
        return
    error = f"{job.error_code}: {job.error_text}" if job.error_code else None
    print_fields(
        {
            "id": job.id,
            "kind": job.kind,
            "queue": job.queue,
            "status": job.status,
            "priority": job.priority,
            "failures": _failures(job),
            "lost workers": job.lapses,
            "error": error,
            "not before": job.run_after,
            "created": job.created_at,
            "started": job.started_at,
            "ended": job.ended_at,
            "took": _took(job),
        }
    )
    if job.status == "dead":
        note(f"Once its cause is gone: copilot jobs redrive {job.id}")


def redrive(job_id: JobId, as_json: AsJson = False) -> None:
    """Begin a dead job anew."""
    from copilot_cli.client import ApiClient
    from copilot_cli.output import note, print_json
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        redriven = client.jobs.redrive(job_id)
    if as_json:
        print_json(redriven)
        return
    print(f"Job {redriven.id} is {redriven.status} again.")
    note(f"How it fares: copilot jobs show {redriven.id}")


def _failures(job: "Job") -> str:
    return f"{job.failures} of {job.max_failures}"


def _took(job: "Job") -> str | None:
    if job.started_at is None or job.ended_at is None:
        return None
    return f"{(job.ended_at - job.started_at).total_seconds():.2f} s"
